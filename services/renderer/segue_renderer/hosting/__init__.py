"""Several backends in one process: loaded when needed, unloaded by least use, and drained before the end."""
