"""Onset strength: the rise of loudness in mel bands, every 10 ms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.spectra import GrowingRows, SpectrumStream
from segue_audio.resample import StreamResampler

if TYPE_CHECKING:
    from segue_audio.arrays import Float32, Float64

RATE: Final = 24_000
"""Rhythm is audible below 12 kHz; at this rate a hop is exactly 10 ms."""
HOPS_PER_SECOND: Final = 100
_HOP: Final = RATE // HOPS_PER_SECOND
_SIZE: Final = 1024
_BANDS: Final = 48
_LOW_BANDS_HZ: Final = 180.0
_COMPRESSION: Final = 1000.0
"""ln(1 + 1000 x): a band counts from -60 dBFS on, and loud bands do not hide soft ones."""
_LAG_HOPS: Final = 2
LATENCY_S: Final = 0.004
"""The window reaches ahead to an attack, so the strongest rise is this much early."""


@dataclass(frozen=True, slots=True)
class Onsets:
    """Onset strength on a grid of 100 per second: of all bands, and of the lowest ones."""

    strength: Float32
    low: Float32

    def part(self, first_s: float, end_s: float) -> Onsets:
        """Return the part between two times."""
        first, end = (max(0, round(at * HOPS_PER_SECOND)) for at in (first_s, end_s))
        return Onsets(self.strength[first:end], self.low[first:end])


class OnsetStream:
    """Computes the onset strength of a mono stream by spectral flux on a log-mel spectrogram."""

    def __init__(self, sample_rate: int) -> None:
        self._resampler = StreamResampler(sample_rate, RATE, 1, quality="HQ")
        self._spectra = SpectrumStream(_SIZE, _HOP)
        self._filters, self._centres_hz = mel_filters(_SIZE, RATE, _BANDS)
        self._last = np.zeros((_LAG_HOPS, _BANDS), dtype=np.float32)
        self._rows = GrowingRows(2)

    def push(self, mono: Float32) -> None:
        """Add samples."""
        self._collect(self._resampler.push(mono[:, None])[:, 0])

    def finish(self) -> Onsets:
        """End the stream and return its onsets."""
        self._collect(self._resampler.finish()[:, 0])
        for magnitudes in self._spectra.finish():
            self._flux(magnitudes)
        rows = self._rows.rows()
        return Onsets(rows[:, 0].copy(), rows[:, 1].copy())

    def _collect(self, mono: Float32) -> None:
        for magnitudes in self._spectra.push(mono):
            self._flux(magnitudes)

    def _flux(self, magnitudes: Float32) -> None:
        bands = np.log1p(_COMPRESSION * (magnitudes @ self._filters))
        with_past = np.concatenate([self._last, bands])
        self._last = with_past[-_LAG_HOPS:]
        before = with_past[: len(bands)]
        # The loudest of a band and its neighbours, so that vibrato and glides do not count as attacks.
        reference = before.copy()
        np.maximum(reference[:, 1:], before[:, :-1], out=reference[:, 1:])
        np.maximum(reference[:, :-1], before[:, 1:], out=reference[:, :-1])
        rise = np.maximum(0.0, bands - reference)
        low = self._centres_hz < _LOW_BANDS_HZ
        # Low bands are narrower than a bin: their own difference is better than that to their neighbours.
        low_rise = np.maximum(0.0, bands[:, low] - before[:, low])
        self._rows.extend(np.stack([rise.mean(axis=1), low_rise.mean(axis=1)], axis=1))


def mel_filters(size: int, sample_rate: int, bands: int) -> tuple[Float32, Float64]:
    """Return triangular filters, evenly spaced on the mel scale of O'Shaughnessy, and their centres in Hz."""
    top_hz = sample_rate / 2
    mels = np.linspace(_mel(30.0), _mel(top_hz), bands + 2)
    edges_hz = 700.0 * (10 ** (mels / 2595.0) - 1)
    bins_hz = np.arange(size // 2 + 1) * sample_rate / size
    # Every triangle must contain a bin.
    reach = np.maximum(np.diff(edges_hz), sample_rate / size)
    rising = 1 - (edges_hz[1:-1] - bins_hz[:, None]) / reach[:-1]
    falling = 1 - (bins_hz[:, None] - edges_hz[1:-1]) / reach[1:]
    weights = np.maximum(0.0, np.minimum(rising, falling))
    weights /= np.maximum(1.0, weights.sum(axis=0))
    return weights.astype(np.float32), edges_hz[1:-1]


def _mel(hertz: float) -> float:
    return float(2595.0 * np.log10(1 + hertz / 700.0))
