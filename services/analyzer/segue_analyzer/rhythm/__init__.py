"""Rhythm: bands, the beat network, beats, bars and tempo."""
