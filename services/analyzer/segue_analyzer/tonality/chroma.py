"""Pitch classes over time, separate for bass and treble, from the peaks of long spectra."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.spectra import GrowingRows, PowerSpectrum, SpectrumStream
from segue_analyzer.tonality.tones import TonePower
from segue_audio.resample import StreamResampler

if TYPE_CHECKING:
    from segue_audio.arrays import Float32, Float64

RATE: Final = 6_000
"""Fundamentals and their first harmonics lie below 3 kHz."""
_SIZE: Final = 4_096
_HOP: Final = 1_200
FRAMES_PER_SECOND: Final = RATE // _HOP
_LOWEST_HZ: Final = 36.0
_HIGHEST_HZ: Final = 2_100.0
_BASS_BELOW_HZ: Final = 200.0
_BINS: Final = 60
"""Five per semitone, so that the tuning can be removed at the end."""
_A4_HZ: Final = 440.0
_SOFTEST: Final = 10 ** (-75 / 20)
_BELOW_LOUDEST: Final = 10 ** (-45 / 20)
_FRAMES_FOR_TUNING: Final = 4
_ROWS_AT_ONCE: Final = 512


@dataclass(frozen=True, slots=True)
class Harmony:
    """Pitch classes on a grid of five per second: (frames, 12), C first, tuning removed."""

    treble: Float64
    bass: Float64
    level: Float64
    """Loudness of the tones of each frame."""
    tuning_semitones: float
    purity: float
    """Agreement of the tones about the tuning, 0 to 1; noise and drums have hardly any."""
    tone_power: Float32
    """Power of the tones and of everything in each frame, (frames, 2)."""

    @property
    def tone_share(self) -> float:
        """The share of the power that is in tones, 0 to 1."""
        tones, everything = self.tone_power.sum(axis=0, dtype=np.float64)
        return float(tones / max(everything, 1e-30))

    def part(self, first_s: float, end_s: float) -> Harmony:
        """Return the part between two times."""
        first, end = (max(0, round(at * FRAMES_PER_SECOND)) for at in (first_s, end_s))
        return Harmony(
            self.treble[first:end],
            self.bass[first:end],
            self.level[first:end],
            self.tuning_semitones,
            self.purity,
            self.tone_power[first:end],
        )


class ChromaStream:
    """Computes the pitch classes of a mono stream."""

    def __init__(self, sample_rate: int) -> None:
        self._resampler = StreamResampler(sample_rate, RATE, 1, quality="HQ")
        self._spectra = SpectrumStream(_SIZE, _HOP)
        self._first_bin = math.ceil(_LOWEST_HZ * _SIZE / RATE)
        self._last_bin = math.floor(_HIGHEST_HZ * _SIZE / RATE)
        self._rows = GrowingRows(2 * _BINS)
        self._tones = TonePower()
        self.spectrum = PowerSpectrum(RATE, _SIZE)
        self._deviation = 0j
        self._weight = 0.0

    def push(self, mono: Float32) -> None:
        """Add samples."""
        for magnitudes in self._spectra.push(self._resampler.push(mono[:, None])[:, 0]):
            self._fold(magnitudes)

    def finish(self) -> Harmony:
        """End the stream and return its harmony."""
        rest = self._resampler.finish()[:, 0]
        for magnitudes in [*self._spectra.push(rest), *self._spectra.finish()]:
            self._fold(magnitudes)
        return self._harmony(self._rows.rows(), self._tones.finish())

    def latest(self, seconds: int) -> Harmony:
        """Return the harmony of the last seconds so far."""
        count = seconds * FRAMES_PER_SECOND
        return self._harmony(self._rows.latest(count), self._tones.latest(count))

    def _harmony(self, rows: Float32, tones: Float32) -> Harmony:
        tuning = cmath.phase(self._deviation) / (2 * math.pi) if len(rows) >= _FRAMES_FOR_TUNING else 0.0
        fold = _folding(tuning)
        treble, bass = np.zeros((len(rows), 12)), np.zeros((len(rows), 12))
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            treble[part], bass[part] = rows[part, :_BINS] @ fold, rows[part, _BINS:] @ fold
        level = np.sqrt((treble**2).sum(axis=1) + (bass**2).sum(axis=1))
        purity = abs(self._deviation) / max(self._weight, 1e-9)
        return Harmony(treble, bass, level, tuning, purity, tones)

    def _fold(self, magnitudes: Float32) -> None:
        """Find the peaks of each frame and add them to their pitch classes."""
        self.spectrum.push(magnitudes)
        first, last = self._first_bin, self._last_bin
        self._tones.push(magnitudes[:, first:last])
        middle = magnitudes[:, first:last]
        left, right = magnitudes[:, first - 1 : last - 1], magnitudes[:, first + 1 : last + 1]
        floor = np.maximum(_SOFTEST, middle.max(axis=1, keepdims=True) * _BELOW_LOUDEST)
        frame, place = np.nonzero((middle > left) & (middle >= right) & (middle > floor))
        # A parabola through the logarithms of three bins finds a peak of a Hann window within 0.02 bins.
        low, top, high = (np.log(part[frame, place] + 1e-12) for part in (left, middle, right))
        shift = np.clip(0.5 * (low - high) / np.minimum(low - 2 * top + high, -1e-9), -0.5, 0.5)
        hertz = (first + place + shift) * (RATE / _SIZE)
        weight = np.sqrt(middle[frame, place])
        semitones = 12 * np.log2(hertz / _A4_HZ) + 69
        self._deviation += complex((weight * np.exp(2j * np.pi * semitones)).sum())
        self._weight += float(weight.sum())
        fine = (semitones % 12) * (_BINS // 12)
        whole = np.floor(fine).astype(np.intp)
        part = fine - whole
        # Above 800 Hz overtones outnumber fundamentals.
        weight = weight * np.minimum(1.0, 800.0 / hertz)
        row = (2 * frame + (hertz < _BASS_BELOW_HZ)) * _BINS
        places = np.concatenate([row + whole % _BINS, row + (whole + 1) % _BINS])
        shares = np.concatenate([weight * (1 - part), weight * part])
        rows = np.bincount(places, shares, len(magnitudes) * 2 * _BINS).astype(np.float32)
        self._rows.extend(rows.reshape(len(magnitudes), -1))


def _folding(tuning_semitones: float) -> Float64:
    """Return weights from fine bins to the twelve pitch classes, shifted by the tuning."""
    centres = np.arange(_BINS) * 12 / _BINS - tuning_semitones
    away = (centres[:, None] - np.arange(12) + 6) % 12 - 6
    weights: Float64 = np.where(np.abs(away) < 0.5, np.cos(np.pi * away) ** 2, 0.0)
    return weights
