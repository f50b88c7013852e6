"""Windows over a section's frames, and the delay pattern of their codes. No torch."""
