"""Takes become the draft: calls to the mixer, recorded in segments with checkpoints."""
