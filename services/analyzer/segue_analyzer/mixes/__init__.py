"""Tracks of a recording that holds several, such as a DJ set: boundaries, crossfades, and what each track is."""
