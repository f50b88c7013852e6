"""Make sections sound: the renderer service and its backends."""
