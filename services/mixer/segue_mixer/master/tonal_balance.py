"""Tonal balance: octave-band levels of a piece, and the gains towards the usual balance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from segue_audio.arrays import Float32, Float64

CENTRES_HZ: Final = (31.5, 63.0, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16000.0)
USUAL_DB: Final = (-9.0, 0.0, -0.5, -3.0, -5.5, -8.5, -11.5, -15.0, -19.5, -27.0)
"""Average of finished popular music by octave; only the shape counts."""
_FITTED: Final = slice(1, 9)
"""63 Hz to 8 kHz: the bands that set the overall level."""
MAX_GAIN_DB: Final = 4.0
MISSING_DB: Final = 20.0
"""A band this far below the usual level holds only noise; it gets no boost."""


class BandLevels:
    """Sums the power of each octave band over whole blocks."""

    def __init__(self, sample_rate: int, block_frames: int) -> None:
        import scipy.fft

        self._fft = scipy.fft
        # Two halves of two channels cost as much as two transforms: the FFT does four at a time.
        self._half = block_frames // 2
        frequency = np.fft.rfftfreq(self._half, 1 / sample_rate)
        edges = [CENTRES_HZ[0] / 2**0.5, *(centre * 2**0.5 for centre in CENTRES_HZ)]
        self._borders = np.searchsorted(frequency, edges)
        self._window = np.hanning(self._half).astype(np.float32)
        self._powers = np.zeros(len(CENTRES_HZ))

    def push(self, block: Float32) -> None:
        """Add a whole block."""
        halves = np.ascontiguousarray(block.T).reshape(-1, self._half)
        spectrum = self._fft.rfft(halves * self._window, axis=1)
        power = np.square(spectrum.view(np.float32)).sum(axis=0)
        total = np.concatenate(([0.0], np.cumsum(power, dtype=np.float64)))
        # Two numbers per frequency: the squares of the real and of the imaginary part.
        self._powers += np.diff(total[2 * self._borders])

    def levels_db(self) -> Float64:
        """Return the relative level of each band; -inf for an empty one."""
        with np.errstate(divide="ignore"):
            levels: Float64 = 10 * np.log10(self._powers)
        return levels


def balancing_gains(levels_db: Float64, balance: float) -> tuple[float, ...]:
    """Return gains that move the bands by the share `balance` towards the usual levels, within 4 dB."""
    usual = np.array(USUAL_DB)
    present = np.isfinite(levels_db)
    fitted = np.zeros(len(usual), bool)
    fitted[_FITTED] = present[_FITTED]
    if balance == 0 or not fitted.any():
        return (0.0,) * len(usual)
    away = usual - np.where(present, levels_db, 0.0)
    # The median: one extreme band must not move all others.
    away -= np.median(away[fitted])
    away[~present | (away > MISSING_DB)] = 0.0
    gains = np.clip(balance * away, -MAX_GAIN_DB, MAX_GAIN_DB)
    # A boost of the lowest octave is hardly audible and costs much limiting.
    gains[0] = min(gains[0], 0.0)
    return tuple(round(float(gain), 3) for gain in gains)
