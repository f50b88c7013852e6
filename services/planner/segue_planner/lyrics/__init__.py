"""Lyrics: the words of a brief become words of sections, with times for their lines."""
