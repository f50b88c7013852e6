"""Levels on a grid of 0.7 ms steps, on which the gains of the master move."""
