"""Small HTTP exchanges with servers that a setting names."""
