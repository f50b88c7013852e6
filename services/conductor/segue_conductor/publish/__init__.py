"""The draft becomes the master, its files and its report."""
