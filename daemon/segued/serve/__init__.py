"""The server process: its roles, and who owns a port."""
