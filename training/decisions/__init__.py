"""Small networks that decide after the beat network has heard: bars and key."""
