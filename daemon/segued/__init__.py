"""The `segued` program: roles into processes, and its command line."""
