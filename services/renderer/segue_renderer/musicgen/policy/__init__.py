"""Who runs when, and over which frames: plain Python, no torch."""
