"""What happens at places of a piece: players, energy, keys and tempos of single sections."""
