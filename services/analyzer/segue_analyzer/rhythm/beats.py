"""Beat tracking by dynamic programming: strong attacks at distances near the tempo's period."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.rhythm.onsets import HOPS_PER_SECOND
from segue_analyzer.rhythm.tempo import accents

if TYPE_CHECKING:
    from segue_analyzer.rhythm.tempo import TempoPath
    from segue_audio.arrays import Float32, Float64, Index


_TIGHTNESS: Final = 100.0
"""Cost of the squared log ratio of a distance to the period, relative to attacks of spread 1."""


def find_beats(strength: Float32, path: TempoPath) -> Float64:
    """Return the beats as times in hops, in order."""
    pulse = accents(strength)
    periods = _periods(path, len(pulse))
    smooth = _smooth(pulse, float(np.median(periods)))
    scores, before = _best_chains(smooth, periods)
    last = _last_beat(scores, periods)
    chain = [last]
    while before[chain[-1]] >= 0:
        chain.append(int(before[chain[-1]]))
    beats = np.array(chain[::-1])
    return _between_hops(smooth, _without_silent_ends(smooth, beats))


def _periods(path: TempoPath, hops: int) -> Float64:
    """Return the period at every hop, in hops; the tempo of a window applies at its middle."""
    middles = (np.arange(len(path.course)) + min(4.0, hops / HOPS_PER_SECOND / 2)) * HOPS_PER_SECOND
    tempo = np.interp(np.arange(hops), middles, path.course)
    return 60.0 * HOPS_PER_SECOND / tempo


def _smooth(pulse: Float64, period: float) -> Float64:
    """Widen attacks to the tolerance of a beat."""
    spread = max(1.0, period / 32)
    reach = int(np.ceil(3 * spread))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / spread) ** 2)
    return np.convolve(pulse, kernel, mode="same") if len(pulse) > len(kernel) else pulse.copy()


def _best_chains(pulse: Float64, periods: Float64) -> tuple[Float64, Index]:
    """Return the score of the best chain that ends at each hop, and the beat before it (-1: none).

    Beats are at least half a period apart, so many hops are computed at once.
    """
    hops = len(pulse)
    scores = pulse.copy()
    before = np.full(hops, -1, dtype=np.intp)
    start = 0
    while start < hops:
        period = float(periods[start])
        nearest, furthest = max(1, round(period / 2)), round(period * 2)
        lags = np.arange(nearest, furthest + 1)
        cost = _TIGHTNESS * np.log(lags / period) ** 2
        stop = min(hops, start + nearest)
        earlier = np.arange(start, stop)[:, None] - lags
        chained = np.where(earlier >= 0, scores[np.maximum(earlier, 0)], -np.inf) - cost
        best = chained.argmax(axis=1)
        gain = chained[np.arange(stop - start), best]
        joins = gain > 0
        scores[start:stop] += np.where(joins, gain, 0.0)
        before[start:stop] = np.where(joins, earlier[np.arange(stop - start), best], -1)
        start = stop
    return scores, before


def _last_beat(scores: Float64, periods: Float64) -> int:
    """Return the best end, within the last two periods."""
    first = max(0, len(scores) - round(2 * float(periods[-1])))
    return first + int(np.argmax(scores[first:]))


def _without_silent_ends(pulse: Float64, beats: Index) -> Index:
    """Drop beats at both ends that have no attack."""
    heard = np.flatnonzero(pulse[beats] > 0.3 * np.sqrt(np.mean(pulse[beats] ** 2)))
    return beats[heard[0] : heard[-1] + 1] if len(heard) else beats[:0]


def _between_hops(pulse: Float64, beats: Index) -> Float64:
    """Move each beat to the maximum of the parabola through its neighbours."""
    inner = np.clip(beats, 1, len(pulse) - 2)
    left, middle, right = pulse[inner - 1], pulse[inner], pulse[inner + 1]
    bend = left - 2 * middle + right
    shift = np.where(bend < -1e-9, 0.5 * (left - right) / np.where(bend < -1e-9, bend, -1.0), 0.0)
    moved: Float64 = inner + np.clip(shift, -0.5, 0.5)
    return moved
