"""The queue of waiting jobs: bands of priority, and weighted turns of owners in each."""
