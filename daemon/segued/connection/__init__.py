"""How a command reaches the service: a server, or all roles in this process."""
