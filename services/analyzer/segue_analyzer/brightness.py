"""Simple running measures of a stream: how alike the sides are, and how bright the sound is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.spectra import GrowingRows, SpectrumStream

if TYPE_CHECKING:
    from segue_audio.arrays import Float32

_SIZE: Final = 2048
_AUDIBLE: Final = 1e-3
"""Spectra whose strongest bin is below -60 dBFS say nothing about brightness."""


class SideCorrelation:
    """Correlation of the first two channels."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._sums = np.zeros(3)

    def push(self, planar: Float32) -> None:
        """Take samples in, (channels, frames)."""
        if self._channels >= 2:
            left, right = planar[0].astype(np.float64), planar[1].astype(np.float64)
            # Not a product of matrices: those start threads that get into the way of the other calls.
            self._sums += [np.einsum("i,i", one, other) for one, other in ((left, left), (right, right), (left, right))]

    def result(self) -> float | None:
        """Give 1 for equal sides, -1 for opposite ones; None for one channel, or when a side is silent."""
        left, right, both = self._sums.tolist()
        if self._channels < 2 or min(left, right) < 1e-9:
            return None
        return float(np.clip(both / np.sqrt(left * right), -1.0, 1.0))


class Brightness:
    """Spectral centroid of every 2048 frames, at the sound's own rate."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._spectra = SpectrumStream(_SIZE, _SIZE)
        self._bins_hz = np.arange(_SIZE // 2 + 1) * sample_rate / _SIZE
        self._rows = GrowingRows(1)

    def push(self, mono: Float32) -> None:
        """Take samples in."""
        self._collect(self._spectra.push(mono))

    def finish(self) -> Float32:
        """End the stream; gives the centroid in Hz of each 2048 frames, 0 where it is silent."""
        self._collect(self._spectra.finish())
        return self._rows.rows()[:, 0]

    def _collect(self, batches: list[Float32]) -> None:
        for magnitudes in batches:
            total = magnitudes.sum(axis=1)
            centroid = (magnitudes @ self._bins_hz) / np.maximum(total, 1e-9)
            self._rows.extend(np.where(magnitudes.max(axis=1) > _AUDIBLE, centroid, 0.0)[:, None])


def mean_brightness_hz(centroids_hz: Float32, first_frame: int, end_frame: int) -> float:
    """Mean over the stretch between two frames; 0 when it is silent."""
    part = centroids_hz[-(-first_frame // _SIZE) : max(-(-first_frame // _SIZE) + 1, end_frame // _SIZE)]
    heard = part[part > 0]
    return float(heard.mean()) if len(heard) else 0.0
