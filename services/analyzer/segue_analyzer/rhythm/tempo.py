"""The tempo of measured beats, how sure it is, and its half or double."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.rhythm.bands import HOPS_PER_SECOND
from segue_analyzer.rhythm.bars import find_bars
from segue_analyzer.rhythm.beats import FASTEST, SLOWEST, find_beats
from segue_analyzer.rhythm.downbeats import highest_near
from segue_analyzer.rhythm.network import SILENT
from segue_analyzer.rhythm.octaves import fitting_ratio

if TYPE_CHECKING:
    from segue_analyzer.rhythm.network import BeatActivations
    from segue_audio.arrays import Float64

_LEAST_BEATS: Final = 4
_LEAST_HEARD: Final = 0.3
_SURELY_HEARD: Final = 0.7
"""Mean chance of the beats: below the first there is no tempo, from the second on it is sure."""
_LEAST_SHARE: Final = 0.3
_SURE_SHARE: Final = 0.7
"""The same for the share of the sound that the beats span: in speech some syllables are regular by chance."""
_NEAR: Final = 0.12
"""Distances this near to the middle one count for the tempo."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """Beats and downbeats in seconds, beats per minute, their confidence, and half or double."""

    beats: Float64
    downbeats: Float64
    beats_per_minute: float
    confidence: float
    other_beats_per_minute: float
    candidates: tuple[tuple[float, float], ...] = ()
    """Beats per minute and confidence of the tempo, its half and its double, the most confident first."""
    beats_per_bar: int = 0


def find_pulse(heard: BeatActivations, planned: float | None = None, beats_per_bar: int | None = None) -> Pulse | None:
    """Find tempo, beats and bars; None when there is no steady beat. The plan gives the octave and the metre."""
    beats = find_beats(heard.beat, planned)
    if len(beats) < _LEAST_BEATS:
        return None
    if planned is None and (ratio := fitting_ratio(heard, beats, tempo_of(beats))) != 1.0:
        beats = find_beats(heard.beat, tempo_of(beats) * ratio)
    if len(beats) < _LEAST_BEATS:
        return None
    chance = chances(heard, beats)
    level, share = float(chance.mean()), _share(heard, beats)
    if level < _LEAST_HEARD or share < _LEAST_SHARE:
        return None
    tempo = tempo_of(beats)
    half, double = _rivals(heard, beats, chance)
    other = tempo * (0.5 if half >= double else 2.0)
    if not SLOWEST / 1.5 <= other <= FASTEST * 1.5:
        other = tempo * (2.0 if half >= double else 0.5)
    bars = find_bars(beats, heard, beats_per_bar)
    downbeats = beats[bars.downbeats] if bars else beats[:0]
    confidence = _between(level, _LEAST_HEARD, _SURELY_HEARD) * _between(share, _LEAST_SHARE, _SURE_SHARE)
    candidates = _candidates(tempo, confidence, half, double)
    metre = bars.beats_per_bar if bars else 0
    return Pulse(beats, downbeats, tempo, candidates[0][1], other, candidates, metre)


def _candidates(tempo: float, confidence: float, half: float, double: float) -> tuple[tuple[float, float], ...]:
    """Share the confidence among the tempo, its half and its double: the nearer these come, the more they take."""
    shared = confidence * 0.5 * max(half, double) ** 2
    total = max(half**2 + double**2, 1e-9)
    others = [(tempo * 0.5, shared * half**2 / total), (tempo * 2.0, shared * double**2 / total)]
    kept = [each for each in others if SLOWEST / 1.5 <= each[0] <= FASTEST * 1.5 and each[1] > 0]
    return ((tempo, confidence - shared), *sorted(kept, key=lambda each: -each[1]))


def _share(heard: BeatActivations, beats: Float64) -> float:
    """Return the share of the sound that the beats span."""
    sounding_s = np.count_nonzero(heard.beat > SILENT) / HOPS_PER_SECOND
    return float(beats[-1] - beats[0] + np.median(np.diff(beats))) / max(sounding_s, 1e-9)


def _between(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.05, (value - low) / (high - low)))


def chances(heard: BeatActivations, times_s: Float64) -> Float64:
    """Return the chance of a beat at each time: the highest within 40 ms."""
    found: Float64 = 1 / (1 + np.exp(-np.clip(highest_near(heard.beat, times_s), -30, 30)))
    return found


def tempo_of(beats: Float64) -> float:
    """Return beats per minute: the mean of the distances near the middle one."""
    distances = np.diff(beats)
    # One of the distances: between two tempos no beat has the mean of the middle two.
    middle = float(np.sort(distances)[len(distances) // 2])
    near = distances[np.abs(distances / middle - 1) < _NEAR]
    return 60.0 / float(near.mean())


def _weaker_half(chance: Float64) -> float:
    """Return the mean chance of the weaker ones of every second beat."""
    return min(float(chance[::2].mean()), float(chance[1::2].mean()))


def _rivals(heard: BeatActivations, beats: Float64, chance: Float64) -> tuple[float, float]:
    """Return how near half and double the tempo come: 1 where all beats, or those between, are equally strong."""
    stronger = max(float(chance[::2].mean()), float(chance[1::2].mean()))
    half = 1.0 - _weaker_half(chance) / max(stronger, 1e-9)
    between = float(chances(heard, (beats[1:] + beats[:-1]) / 2).mean())
    return half, min(1.0, between / max(float(chance.mean()), 1e-9))
