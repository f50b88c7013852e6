"""Tonality: pitch classes, tuning and key."""
