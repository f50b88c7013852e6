"""Rhythm: onsets, tempo, its octave, beats and bars."""
