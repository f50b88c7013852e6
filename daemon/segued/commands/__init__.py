"""One module for each command: `run` takes the settings and the arguments, and returns the exit code."""
