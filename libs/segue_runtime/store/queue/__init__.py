"""The queue of waiting jobs: priorities of priority, and weighted turns of owners in each."""
