"""Sound without a service around it."""
