"""Join sections and master the piece: the mixer service."""
