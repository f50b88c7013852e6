"""Sections and their lengths: which sections a piece has, how many bars each, and a tempo that fills the length."""
