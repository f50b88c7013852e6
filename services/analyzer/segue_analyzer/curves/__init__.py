"""Measurements over time and of the whole: loudness, stereo image, spectrum, tempo, attacks, energy, drums."""
