"""The flags of every command. Nothing here imports grpc or numpy, so that `--help` is quick."""
