"""Mixing: takes become the draft, by calls to the mixer, recorded in segments with checkpoints."""
