"""How much of the power is in tones: peaks of the spectrum that last, and stand out from their surroundings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.spectra import GrowingRows

if TYPE_CHECKING:
    from segue_audio.arrays import Bools, Float32

_FRAMES: Final = 5
"""A tone lasts for half of these frames."""
_BINS: Final = 13
_LEAST_RATIO: Final = 2.0
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

    def latest(self, count: int) -> Float32:
        """Return the power of tones and of everything in the last frames that were measured."""
        return self._rows.latest(count)

    def finish(self) -> Float32:
        """End the stream; returns the power of tones and of everything, (frames, 2)."""
        if self._waiting is not None:
            self._waiting = np.concatenate([self._waiting, np.repeat(self._waiting[-1:], _AROUND, axis=0)])
            self._measure()
        return self._rows.rows()

    def _measure(self) -> None:
        if self._waiting is None or len(self._waiting) < _FRAMES:
            return
        middle = self._waiting[_AROUND:-_AROUND]
        limit = (np.minimum(middle, _middle_of_five(self._waiting)) / _LEAST_RATIO).astype(np.float32)
        peak = np.zeros(middle.shape, dtype=bool)
        peak[:, 1:-1] = (middle[:, 1:-1] > middle[:, :-2]) & (middle[:, 1:-1] >= middle[:, 2:])
        tone = peak & _stands_out(middle, limit)
        power = middle * middle
        self._rows.extend(np.stack([np.where(tone, power, 0).sum(axis=1), power.sum(axis=1)], axis=1))
        self._waiting = self._waiting[-2 * _AROUND :].copy()


def _middle_of_five(rows: Float32) -> Float32:
    """Return the median over time of each row, the two before and the two after; four rows fewer come out."""
    first, second, third, fourth, fifth = (rows[each : len(rows) - _FRAMES + 1 + each] for each in range(_FRAMES))
    low = np.maximum(np.minimum(first, second), np.minimum(third, fourth))
    high = np.minimum(np.maximum(first, second), np.maximum(third, fourth))
    middle: Float32 = np.maximum(np.minimum(low, high), np.minimum(np.maximum(low, high), fifth))
    return middle


def _stands_out(rows: Float32, limit: Float32) -> Bools:
    """Return where the median of the bins around each one is at most `limit`: more than half of them are."""
    around = np.pad(rows, ((0, 0), (_BINS // 2, _BINS // 2)), mode="edge")
    lower = np.zeros(rows.shape, dtype=np.uint8)
    for shift in range(_BINS):
        lower += (around[:, shift : shift + rows.shape[1]] <= limit).view(np.uint8)
    found: Bools = lower > _BINS // 2
    return found
