"""Which calls a server serves: authentication first, then the limits."""
