"""Saturation: a soft cubic curve with antiderivative anti-aliasing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from segue_audio.arrays import Float32, Float64


class Saturation:
    """Bends the waveform by x - x³/3 up to the curve's maximum, blended with the input.

    Only the difference from the straight line is computed, as the mean over the way from each sample to the next. That
    mean keeps harmonics from aliasing (antiderivative anti-aliasing).
    """

    def __init__(self, amount: float, gain_db: float, channels: int) -> None:
        self._amount = np.float32(amount)
        self._gain = np.float32(10 ** (gain_db / 20))
        self._last = np.zeros((channels, 1), np.float32)

    def push(self, block: Float32) -> Float32:
        """Saturate a block, (channels, frames)."""
        # One more frame at the front: the way to the first frame begins at the last frame of the block before.
        wide = np.empty((block.shape[0], block.shape[1] + 1), np.float32)
        wide[:, :1] = self._last
        np.multiply(block, self._gain, out=wide[:, 1:])
        self._last = wide[:, -1:].copy()
        before, here = wide[:, :-1], wide[:, 1:]
        squares = wide * wide
        # The mean of x³/3 from a to b is (a + b)(a² + b²) / 12.
        bend = squares[:, :-1] + squares[:, 1:]
        bend *= before + here
        bend *= np.float32(1 / 12)
        # Few samples are beyond the curve's maximum; only they need the exact formula.
        beyond = squares > 1.0
        if beyond.any():
            where = np.nonzero(beyond[:, :-1] | beyond[:, 1:])
            bend[where] = _mean_bend(before[where].astype(np.float64), here[where].astype(np.float64))
        bend *= self._amount / self._gain
        np.subtract(block, bend, out=bend)
        return np.asarray(bend, np.float32)


def _mean_bend(before: Float64, here: Float64) -> Float64:
    """Return the mean amount that the curve removes, from each sample to the next."""
    way = here - before
    near = np.abs(way) < 1e-6
    mean = (_bend_integral(here) - _bend_integral(before)) / np.where(near, 1.0, way)
    middle = (here + before) / 2
    inside = np.clip(middle, -1.0, 1.0)
    return np.where(near, inside**3 / 3 + (middle - inside), mean)


def _bend_integral(wave: Float64) -> Float64:
    """Return the integral, from 0, of the amount that the curve removes."""
    inside = np.minimum(np.abs(wave), 1.0)
    over = np.abs(wave) - inside
    area: Float64 = inside**4 / 12 + over / 3 + over * over / 2
    return area
