"""Limits that servers and channels share."""

MAX_MESSAGE_BYTES = 1 << 20
LOOKAHEAD_BYTES = 1 << 20
