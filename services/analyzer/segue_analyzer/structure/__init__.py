"""Structure: chords, keys over time, and the parts of the music."""
