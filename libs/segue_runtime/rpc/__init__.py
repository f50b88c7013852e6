"""gRPC servers, channels and calls."""
