"""Over which frames a job goes, and where a code stands: plain Python, no torch."""
