"""Sound without a service around it: PCM, files, resampling, loudness, true peak, waveform peaks."""
