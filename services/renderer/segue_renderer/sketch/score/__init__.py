"""Writes the notes of a section from its plan: harmony, bass, melody, textures and drums, on a tick grid."""
