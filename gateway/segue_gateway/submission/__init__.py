"""Requests become jobs: checks, edits of a parent, and entry into the queue."""
