"""Detectors of faults: clicks, clipping, DC, silence, samples that are not finite."""
