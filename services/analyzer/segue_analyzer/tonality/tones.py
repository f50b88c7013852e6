"""How much of the power is in tones: peaks of the spectrum that last, and stand out from their surroundings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.ndimage import median_filter

from segue_analyzer.spectra import GrowingRows

if TYPE_CHECKING:
    from segue_audio.arrays import Float32

_FRAMES: Final = 5
"""A tone lasts for half of these frames."""
_BINS: Final = 13
_STANDS_OUT: Final = 2.0
"""Drums and noise have peaks too, but seldom 6 dB above the middle of their surroundings for half a second."""
_AROUND: Final = _FRAMES // 2


class TonePower:
    """Measures the power of tones and of everything in each frame of a stream of spectra.

    Medians over time and over frequency tell harmonic from percussive sound: D. FitzGerald, Harmonic/percussive
    separation using median filtering, DAFx 2010.
    """

    def __init__(self) -> None:
        self._waiting: Float32 | None = None
        self._rows = GrowingRows(2)

    def push(self, magnitudes: Float32) -> None:
        """Add spectra of shape (frames, bins)."""
        if len(magnitudes) == 0:
            return
        if self._waiting is None:
            self._waiting = np.repeat(magnitudes[:1], _AROUND, axis=0)
        self._waiting = np.concatenate([self._waiting, magnitudes])
        self._measure()

    def finish(self) -> Float32:
        """End the stream; returns the power of tones and of everything, (frames, 2)."""
        if self._waiting is not None:
            self._waiting = np.concatenate([self._waiting, np.repeat(self._waiting[-1:], _AROUND, axis=0)])
            self._measure()
        return self._rows.rows()

    def _measure(self) -> None:
        if self._waiting is None or len(self._waiting) < _FRAMES:
            return
        windows = np.lib.stride_tricks.sliding_window_view(self._waiting, _FRAMES, axis=0)
        lasting = np.median(windows, axis=2)
        middle = self._waiting[_AROUND:-_AROUND]
        floor = median_filter(middle, (1, _BINS), mode="nearest")
        peak = np.zeros(middle.shape, dtype=bool)
        peak[:, 1:-1] = (middle[:, 1:-1] > middle[:, :-2]) & (middle[:, 1:-1] >= middle[:, 2:])
        tone = peak & (np.minimum(middle, lasting) >= _STANDS_OUT * floor)
        power = middle.astype(np.float64) ** 2
        self._rows.extend(np.stack([(power * tone).sum(axis=1), power.sum(axis=1)], axis=1))
        self._waiting = self._waiting[-2 * _AROUND :].copy()
