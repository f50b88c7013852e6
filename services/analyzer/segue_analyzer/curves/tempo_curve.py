"""The tempo over time, and swing: where notes sound between the beats."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.rhythm.bands import HOPS_PER_SECOND

if TYPE_CHECKING:
    from segue_analyzer.curves.onsets import Attacks
    from segue_audio.arrays import Float64

_AROUND: Final = 4
"""Beats before and after a beat whose distances make its tempo."""
_NEAR: Final = 0.12
_MAX_POINTS: Final = 1_024
_PHASES: Final = 48
"""Phases of a beat at which attacks are summed."""
_LEAST_BEATS: Final = 12
_LEAST_ATTACK: Final = 0.05
"""Of the attack on the beat: a weaker one between the beats is none."""
_MIDDLES: Final = (0.44, 0.76)
"""Phases at which the second of two subdivisions may begin."""
_STRAIGHT: Final = 0.03
"""Two halves of a beat this near to equal are straight; then its quarters may swing."""
_MOST_SWING: Final = 0.75


def tempo_over_time(beats_s: Float64) -> list[tuple[float, float]]:
    """Return time and beats per minute at every beat, or at fewer where there would be too many points."""
    if len(beats_s) < 3:
        return []
    numbers = np.arange(0, len(beats_s), -(-len(beats_s) // _MAX_POINTS))
    first, last = np.maximum(numbers - _AROUND, 0), np.minimum(numbers + _AROUND, len(beats_s) - 1)
    distances = np.diff(beats_s)
    # A beat that was left out must not halve the tempo: the middle of the distances, not their mean.
    tempos = [60.0 / _middle(distances[start:end]) for start, end in zip(first.tolist(), last.tolist(), strict=True)]
    return list(zip(beats_s[numbers].tolist(), tempos, strict=True))


def _middle(distances: Float64) -> float:
    """Return the mean of the distances near the middle one."""
    middle = float(np.sort(distances)[len(distances) // 2])
    near = distances[np.abs(distances / middle - 1) < _NEAR]
    return float(near.mean())


def swing_of(beats_s: Float64, attacks: Attacks) -> float | None:
    """Return the share of the first of two subdivisions of a beat, or of half a beat; None where there are none."""
    if len(beats_s) < _LEAST_BEATS or len(attacks.rise) == 0:
        return None
    profile = _attack_profile(beats_s, attacks)
    # The network's beats may be some milliseconds beside the attacks.
    start = _peak(profile, -0.1, 0.1)
    middle = _peak(profile, *_MIDDLES)
    if start is None or middle is None:
        return None
    swing = middle - start
    if abs(swing - 0.5) < _STRAIGHT:
        quarters = (
            _peak(profile, 0.5 * _MIDDLES[0], 0.5 * _MIDDLES[1]),
            _peak(profile, *(0.5 + 0.5 * np.array(_MIDDLES))),
        )
        if None not in quarters:
            early, late = (float(each or 0.0) for each in quarters)
            swing = 0.5 * ((early - start) / 0.5 + (late - middle) / 0.5)
    return min(_MOST_SWING, max(0.5, swing))


def _attack_profile(beats_s: Float64, attacks: Attacks) -> Float64:
    """Return the mean attack at each phase of the beat: 1 at the strongest, 0 at the weakest."""
    phases = np.arange(_PHASES) / _PHASES
    times = beats_s[:-1, None] + np.diff(beats_s)[:, None] * phases
    found = np.interp(times * HOPS_PER_SECOND, np.arange(len(attacks.rise)), attacks.rise).mean(axis=0)
    found -= found.min()
    profile: Float64 = found / max(float(found.max()), 1e-9)
    return profile


def _peak(profile: Float64, low: float, high: float) -> float | None:
    """Return the phase of the highest peak between two phases; None where there is no peak."""
    places = np.arange(math.floor(low * _PHASES), math.ceil(high * _PHASES) + 1)
    best = int(places[profile[places % _PHASES].argmax()])
    before, here, after = (float(profile[(best + step) % _PHASES]) for step in (-1, 0, 1))
    if here < _LEAST_ATTACK or here < max(before, after):
        return None
    # A parabola through three values finds the peak between them.
    bend = before - 2 * here + after
    return (best + (0.5 * (before - after) / bend if bend < -1e-9 else 0.0)) / _PHASES
