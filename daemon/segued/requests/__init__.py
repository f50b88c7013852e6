"""What a command asks of the service: the command line, plans and manifests as messages of the contract."""
