"""Checks of a caller's own plan; each violation names the place, the value and the nearest valid value."""
