"""The parts of each section: energy, instruments, arrangement, harmony, motif, transitions and section prompts."""
