"""Reads a prompt: tempo, key, metre, length, genre, instruments, negations, sections and moods."""
