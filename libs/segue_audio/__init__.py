"""Audio without a service: PCM, file formats, files, resampling, loudness, true peak, waveform peaks."""
