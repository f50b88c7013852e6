"""Spectral bands of a stream, 50 times a second: what the beat network hears."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.spectra import GrowingRows, SpectrumStream
from segue_audio.resample import StreamResampler

if TYPE_CHECKING:
    from segue_audio.arrays import Float32

RATE: Final = 24_000
HOPS_PER_SECOND: Final = 50
BANDS: Final = 66
_SIZE: Final = 2_048
_LOWEST_HZ: Final = 30.0
_HIGHEST_HZ: Final = 10_500.0
_SOFTEST: Final = 1e-7
"""-140 dBFS: everything below counts as silence."""
_ROWS_AT_ONCE: Final = 4_096
_COMPRESSION: Final = 300.0
"""ln(1 + 300 x): a band counts from 50 dB below the level of the music."""


class BandStream:
    """Computes the logarithm of each band of a mono stream; half floats keep three hours in 71 MB."""

    def __init__(self, sample_rate: int) -> None:
        self._resampler = StreamResampler(sample_rate, RATE, 1, quality="HQ")
        self._spectra = SpectrumStream(_SIZE, RATE // HOPS_PER_SECOND)
        self._filters = _band_filters()
        self._rows = GrowingRows(BANDS, np.float16)

    def push(self, mono: Float32) -> None:
        """Add samples."""
        self._collect(self._spectra.push(self._resampler.push(mono[:, None])[:, 0]))

    def latest(self, seconds: int) -> np.ndarray[tuple[int, int], np.dtype[np.float16]]:
        """Return the rows of the last seconds so far."""
        return self._rows.latest(seconds * HOPS_PER_SECOND)

    def finish(self) -> np.ndarray[tuple[int, int], np.dtype[np.float16]]:
        """End the stream and return rows of natural logarithms, (hops, bands)."""
        self._collect(self._spectra.push(self._resampler.finish()[:, 0]))
        self._collect(self._spectra.finish())
        return self._rows.rows()

    def _collect(self, batches: list[Float32]) -> None:
        for magnitudes in batches:
            self._rows.extend(np.log(np.maximum(magnitudes @ self._filters, _SOFTEST)))


def level_of(rows: np.ndarray[tuple[int, int], np.dtype[np.float16]]) -> float:
    """Return the root of the mean power of rows; 0 in silence."""
    power = np.zeros(1)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        power += (_magnitudes(rows[start : start + _ROWS_AT_ONCE]) ** 2).sum(dtype=np.float64)
    return float(np.sqrt(power[0] / max(1, len(rows))))


def levelled(rows: np.ndarray[tuple[int, int], np.dtype[np.float16]], level: float) -> Float32:
    """Return compressed bands relative to a level: the same at every playback level."""
    compressed: Float32 = np.log1p(_magnitudes(rows) * np.float32(_COMPRESSION / max(level, _SOFTEST)))
    return compressed


def _magnitudes(rows: np.ndarray[tuple[int, int], np.dtype[np.float16]]) -> Float32:
    magnitudes: Float32 = np.exp(rows.astype(np.float32))
    magnitudes[magnitudes < 2 * _SOFTEST] = 0.0
    return magnitudes


def _band_filters() -> Float32:
    """Return triangular filters, evenly spaced in pitch, about eight an octave."""
    edges_hz = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, BANDS + 2)
    bins_hz = np.arange(_SIZE // 2 + 1) * RATE / _SIZE
    # Every triangle must contain a bin.
    reach = np.maximum(np.diff(edges_hz), RATE / _SIZE)
    rising = 1 - (edges_hz[1:-1] - bins_hz[:, None]) / reach[:-1]
    falling = 1 - (bins_hz[:, None] - edges_hz[1:-1]) / reach[1:]
    weights = np.maximum(0.0, np.minimum(rising, falling))
    weights /= np.maximum(1.0, weights.sum(axis=0))
    return weights.astype(np.float32)
