"""Publishing: the draft becomes the master, and both become files: exports, stems, MIDI, lyrics, manifest."""
