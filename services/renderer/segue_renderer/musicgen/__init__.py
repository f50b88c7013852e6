"""The engine for the published MusicGen checkpoints; torch is imported only in here."""
