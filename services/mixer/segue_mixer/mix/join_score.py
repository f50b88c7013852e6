"""The score of a join: level, notes, spectrum, tempo and clicks on both sides compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_mixer.mix.join_clicks import has_click

if TYPE_CHECKING:
    from segue_audio.arrays import Float32, Float64

WINDOW_S: Final = 1.0
SILENCE: Final = 1e-5
LEAST_POWER: Final = 1e-15
OCTAVES_HZ: Final = (62.5, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)


@dataclass(frozen=True)
class JoinScore:
    """Measurements over one second on each side of a join; None where a side is silent."""

    level_jump_lu: float | None
    chroma_distance: float | None
    spectral_jump_db: float | None
    click: bool
    score: float


@dataclass(frozen=True, slots=True)
class JoinAudio:
    """Mono audio around a join, with its planned and measured values."""

    before: Float32
    after: Float32
    continuation: Float32
    """The earlier audio beyond the join, without the new section: a drum of the new section would hide a click."""
    power_before: float
    """K-weighted mean square of the last second, over all channels."""
    power_after: float
    planned_jump_lu: float = 0.0
    """A planned jump in level costs no score."""
    tempo_drift: float | None = None


def score_join(join: JoinAudio, sample_rate: int) -> JoinScore:
    """Compare the audio on both sides of a join."""
    before, after = join.before, join.after
    click = has_click(before, join.continuation) or has_click(before, after)
    # A fifth of a beat early or late costs the most.
    drift = min(1.0, abs(join.tempo_drift or 0.0) / 0.2) * 0.4
    if min(len(before), len(after)) < sample_rate // 4 or min(_rms(before), _rms(after)) < SILENCE:
        return JoinScore(None, None, None, click, 0.0 if click else round(1.0 - drift, 4))
    jump = 10 * float(np.log10(max(join.power_after, LEAST_POWER) / max(join.power_before, LEAST_POWER)))
    spectrum_before, spectrum_after = _spectrum(before, sample_rate), _spectrum(after, sample_rate)
    chroma = _chroma_distance(spectrum_before, spectrum_after, sample_rate)
    spectral = _spectral_jump(spectrum_before, spectrum_after, sample_rate)
    # Full cost: 12 LU, no note in common, or 24 dB. A click alone makes the score 0.
    cost = min(1.0, abs(jump - join.planned_jump_lu) / 12) * 0.4 + chroma * 0.25 + min(1.0, spectral / 24) * 0.25
    cost += drift
    return JoinScore(jump, chroma, spectral, click, 0.0 if click else round(max(0.0, 1.0 - cost), 4))


def _rms(mono: Float32) -> float:
    return float(np.sqrt(np.mean(np.square(mono, dtype=np.float64)))) if len(mono) else 0.0


def _spectrum(mono: Float32, sample_rate: int) -> Float64:
    window = np.hanning(len(mono))
    return np.square(np.abs(np.fft.rfft(mono * window, _fft_size(sample_rate))))


def _fft_size(sample_rate: int) -> int:
    """Return a size that holds the whole window: a window cut in its middle smears every tone."""
    return max(65_536, 1 << (round(WINDOW_S * sample_rate) - 1).bit_length())


def _chroma_distance(before: Float64, after: Float64, sample_rate: int) -> float:
    chroma_before, chroma_after = (_chroma(power, sample_rate) for power in (before, after))
    norm = float(np.linalg.norm(chroma_before) * np.linalg.norm(chroma_after))
    return 0.0 if norm == 0 else float(np.clip(1.0 - float(chroma_before @ chroma_after) / norm, 0.0, 1.0))


def _chroma(power: Float64, sample_rate: int) -> Float64:
    frequency = np.fft.rfftfreq(_fft_size(sample_rate), 1 / sample_rate)
    used = (frequency > 80) & (frequency < 4_000)
    classes = np.round(12 * np.log2(frequency[used] / 440.0)).astype(int) % 12
    counted: Float64 = np.bincount(classes, weights=np.sqrt(power[used]), minlength=12).astype(np.float64)
    return counted


def _spectral_jump(before: Float64, after: Float64, sample_rate: int) -> float:
    frequency = np.fft.rfftfreq(_fft_size(sample_rate), 1 / sample_rate)
    jumps = []
    for centre in OCTAVES_HZ:
        band = (frequency >= centre / 1.414) & (frequency < centre * 1.414)
        power_before, power_after = float(before[band].sum()), float(after[band].sum())
        if min(power_before, power_after) > 1e-9:
            jumps.append(abs(10 * float(np.log10(power_after / power_before))))
    return float(np.mean(jumps)) if jumps else 0.0
