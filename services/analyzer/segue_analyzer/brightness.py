"""Brightness: the spectral centroid over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.spectra import GrowingRows, PowerSpectrum, SpectrumStream

if TYPE_CHECKING:
    from segue_audio.arrays import Float32

_SIZE: Final = 2048
_AUDIBLE: Final = 1e-3
"""Spectra whose strongest bin is below -60 dBFS have no brightness."""


class Brightness:
    """Computes the spectral centroid of every 2048 frames, at the rate of the input."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._spectra = SpectrumStream(_SIZE, _SIZE)
        self._bins_hz = (np.arange(_SIZE // 2 + 1) * sample_rate / _SIZE).astype(np.float32)
        self._rows = GrowingRows(1)
        self.spectrum = PowerSpectrum(sample_rate, _SIZE)

    def push(self, mono: Float32) -> None:
        """Add samples."""
        self._collect(self._spectra.push(mono))

    def finish(self) -> Float32:
        """End the stream; returns the centroid in Hz of each 2048 frames, 0 in silence."""
        self._collect(self._spectra.finish())
        return self._rows.rows()[:, 0]

    def _collect(self, batches: list[Float32]) -> None:
        for magnitudes in batches:
            self.spectrum.push(magnitudes)
            total = magnitudes.sum(axis=1)
            centroid = (magnitudes @ self._bins_hz) / np.maximum(total, 1e-9)
            self._rows.extend(np.where(magnitudes.max(axis=1) > _AUDIBLE, centroid, 0.0)[:, None])


def mean_brightness_hz(centroids_hz: Float32, first_frame: int, end_frame: int) -> float:
    """Return the mean brightness between two frames; 0 for silence."""
    part = centroids_hz[-(-first_frame // _SIZE) : max(-(-first_frame // _SIZE) + 1, end_frame // _SIZE)]
    heard = part[part > 0]
    return float(heard.mean()) if len(heard) else 0.0
