"""The runtime of every service process: settings, logs, metrics, errors, gRPC, store and artifacts."""
