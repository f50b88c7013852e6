"""What the store in Redis keeps for each owner."""
