"""Data of the sketch band: voices and which instruments they play, drum kits, styles of the genres."""
