"""The spectral balance: the power of each octave relative to all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.report import SpectralBand

if TYPE_CHECKING:
    from segue_analyzer.spectra import PowerSpectrum

_CENTRES_HZ: Final = tuple(1_000.0 * 2.0**octave for octave in range(-5, 5))
_LONG_SPECTRA_BELOW_HZ: Final = 300.0
"""Below it, spectra of 2048 frames are too coarse for octaves."""
_LEAST_DB: Final = -120.0
_SILENT: Final = 1e-14


def spectral_balance(long: PowerSpectrum, short: PowerSpectrum, sample_rate: int) -> tuple[SpectralBand, ...]:
    """Return the octaves below half the sample rate: low ones from the long spectra, high ones from the short ones."""
    edges = [(hz / 2**0.5, min(hz * 2**0.5, sample_rate / 2)) for hz in _CENTRES_HZ if hz / 2**0.5 < sample_rate / 2]
    powers = [(long if high < _LONG_SPECTRA_BELOW_HZ else short).between(low, high) for low, high in edges]
    whole = sum(powers)
    if whole < _SILENT:
        return ()
    levels = [max(_LEAST_DB, 10 * float(np.log10(max(power / whole, 1e-15)))) for power in powers]
    return tuple(SpectralBand(*band, level) for band, level in zip(edges, levels, strict=True))
