"""gRPC servers, channels and calls: what every process does on the wire."""
