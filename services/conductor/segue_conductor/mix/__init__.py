"""Takes become the draft: the call to the mixer, segments, and checkpoints."""
