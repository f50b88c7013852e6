"""A composition's stream: its log with the audio in place, written into a call."""
