"""Recordings of a composition: the file format, and the service that replays one."""
