"""Small networks that decide after the beat network has heard: octave, bars and key."""
