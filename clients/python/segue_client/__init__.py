"""The Python client: typed events, resume, files."""
