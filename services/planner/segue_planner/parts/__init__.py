"""What plays in each section: energy, instruments, arrangement, harmony, motif, transitions and section prompts."""
