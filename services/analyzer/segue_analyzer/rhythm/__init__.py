"""Rhythm: onsets, tempo, beats and bars."""
