"""The MusicGen engine: many sections in one batch on one device, streamed while they are generated."""
