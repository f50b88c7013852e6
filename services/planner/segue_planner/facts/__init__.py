"""Decides what holds for the whole piece (genre, tempo, metre, key, length) and records where each value comes from."""
