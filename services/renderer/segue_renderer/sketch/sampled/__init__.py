"""Sampled voices: reads SoundFonts, writes voice packs, and plays their samples by arithmetic of its own."""
