"""Downbeats: the beats that open a bar, found by bass, change of harmony and accent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.rhythm.onsets import HOPS_PER_SECOND

if TYPE_CHECKING:
    from segue_analyzer.rhythm.onsets import Onsets
    from segue_analyzer.tonality.chroma import Harmony
    from segue_audio.arrays import Float32, Float64, Index


_USUAL_BARS: Final = (4, 3)
_LEAST_BARS: Final = 3
_SLIP_COST: Final = 8.0
"""Cost of a lost or added beat, relative to accents of spread 1 to 3."""
_LEAST_EVIDENCE: Final = 2.5
"""Standard errors by which downbeats must stand out."""


def find_downbeats(beats: Float64, onsets: Onsets, harmony: Harmony, beats_per_bar: int | None) -> Float64:
    """Return the beats (in hops) that open bars; none when they are not distinct."""
    lengths = _USUAL_BARS if beats_per_bar is None else (beats_per_bar,)
    if beats_per_bar == 1:
        return beats
    best_evidence, best = 0.0, beats[:0]
    accent = _accents(beats, onsets, harmony)
    for length in lengths:
        if len(beats) < _LEAST_BARS * length:
            continue
        places = _places_in_bar(accent, length)
        evidence = _evidence(accent, places, length)
        if evidence > best_evidence:
            best_evidence, best = evidence, beats[places == 0]
    return best if best_evidence >= _LEAST_EVIDENCE else beats[:0]


def _places_in_bar(accent: Float64, length: int) -> Index:
    """Find the position of every beat in its bar by Viterbi; a shortened bar has a cost."""
    gain = np.full((len(accent), length), 0.0)
    gain[:, 0] = accent
    total = gain[0].copy()
    steps = np.zeros((len(accent), length), dtype=np.intp)
    for beat in range(1, len(accent)):
        best = int(total.argmax())
        follows = np.roll(np.arange(length), 1)
        slips = total[best] - _SLIP_COST > total[follows]
        steps[beat] = np.where(slips, best, follows)
        total = total[steps[beat]] - np.where(slips, _SLIP_COST, 0.0) + gain[beat]
    places = np.zeros(len(accent), dtype=np.intp)
    places[-1] = total.argmax()
    for beat in range(len(accent) - 1, 0, -1):
        places[beat - 1] = steps[beat, places[beat]]
    return places


def _accents(beats: Float64, onsets: Onsets, harmony: Harmony) -> Float64:
    low = _around(onsets.low, beats)
    strength = _around(onsets.strength, beats)
    change = harmony.change_at(beats / HOPS_PER_SECOND)
    # Harmony counts only as far as there are tones: the pitch classes of drums change at random.
    certain = min(1.0, harmony.purity / 0.25) ** 2 * min(1.0, float(change.std()) / 0.05)
    return _standardised(low) + 1.5 * certain * _standardised(change) + 0.25 * _standardised(strength)


def _around(values: Float32, beats: Float64) -> Float64:
    """Return the highest value within 30 ms of each beat."""
    places = np.round(beats).astype(np.intp)[:, None] + np.arange(-3, 4)
    nearby: Float64 = values[np.clip(places, 0, len(values) - 1)].max(axis=1).astype(np.float64)
    return nearby


def _standardised(values: Float64) -> Float64:
    spread = values.std()
    return (values - values.mean()) / spread if spread > 1e-6 else np.zeros_like(values)


def _evidence(accent: Float64, places: Index, length: int) -> float:
    """Return how far downbeats stand above the other beats, in standard errors."""
    own, *others = (float(accent[places == place].mean()) for place in range(length))
    error = max(float(accent.std()), 1e-9) / np.sqrt(np.count_nonzero(places == 0))
    # Both the mean and the best of the others count: in 4/4 the third beat comes close.
    return float((own - 0.5 * (max(others) + float(np.mean(others)))) / error)
