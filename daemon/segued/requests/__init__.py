"""Requests of commands: the command line, plans and manifests as messages of the contract."""
