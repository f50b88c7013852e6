"""Writes the melody of a section: develops the motif, fits it to the chords, and adds passing and neighbour notes."""
