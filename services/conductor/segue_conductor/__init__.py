"""The conductor: claims compositions and drives each one through the other roles."""
