"""The gRPC streams of Mix and Master: check, decode, call, encode."""
