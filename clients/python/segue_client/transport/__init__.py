"""Calls that survive broken connections: connections, retries, checks, resumed streams, and file transfers."""
