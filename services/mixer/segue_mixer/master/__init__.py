"""The master in two passes: tone, section gains, compressor, loudness limiter."""
