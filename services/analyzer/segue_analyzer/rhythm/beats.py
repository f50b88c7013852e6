"""Beats: the likeliest chain of beats whose distances change little, found over all distances at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.rhythm.bands import HOPS_PER_SECOND

if TYPE_CHECKING:
    from segue_audio.arrays import Float32, Float64, Index

SLOWEST: Final = 44.0
FASTEST: Final = 222.0
_FINE: Final = 2
"""Beats stand on a grid twice as fine as the hops."""
STEPS_PER_SECOND: Final = HOPS_PER_SECOND * _FINE
_OFFSET: Final = 1.0
"""Added to the log odds of every beat: one that is not heard costs less than the log odds say."""
_LEAST_LOG_ODDS: Final = -5.0
_SPREAD: Final = 0.025
"""Usual change of a distance from beat to beat, as a share."""
_JUMP_COST: Final = 10.0
"""Nats for any other change."""
_USUAL: Final = 110.0
_USUAL_OCTAVES: Final = 1.0
_USUAL_WEIGHT: Final = 0.5
"""Weight of the usual tempos for each second of distance."""
_PLANNED_OCTAVES: Final = 0.45
"""A plan chooses the octave: nothing further from its tempo is considered."""
_WINDOW_STEPS: Final = 120 * STEPS_PER_SECOND
_MARGIN_STEPS: Final = 15 * STEPS_PER_SECOND
_MOST_DISTANCES: Final = 254


@dataclass(frozen=True, slots=True)
class Distances:
    """The distances between beats that are considered, in steps, with their costs."""

    steps: Index
    usual: Float64
    """Log weight of each distance."""
    change: Float64
    """Log weight of a change from a distance (rows) to another (columns)."""


def find_beats(log_odds: Float32, planned: float | None = None) -> Float64:
    """Return the beats in seconds, in order; a planned tempo in beats per minute limits the range."""
    if len(log_odds) < HOPS_PER_SECOND:
        return np.zeros(0)
    gain = _fine(log_odds)
    distances = distances_for(planned)
    found: list[Float64] = []
    for start in range(0, len(gain), _WINDOW_STEPS):
        first, end = max(0, start - _MARGIN_STEPS), min(len(gain), start + _WINDOW_STEPS + _MARGIN_STEPS)
        chain = best_chain(gain[first:end], distances) + first
        # The windows overlap; each keeps its own part.
        found.append(chain[(chain >= start) & (chain < start + _WINDOW_STEPS)].astype(np.float64))
    beats = np.concatenate(found) / _FINE
    return _without_doubles(_on_peaks(log_odds, beats)) / HOPS_PER_SECOND


def distances_for(planned: float | None) -> Distances:
    """Return the distances for any music, or near those of a plan."""
    slowest, fastest = SLOWEST, FASTEST
    if planned is not None:
        slowest, fastest = planned * 2.0**-_PLANNED_OCTAVES, planned * 2.0**_PLANNED_OCTAVES
    shortest = max(8, int(60 * STEPS_PER_SECOND / fastest))
    longest = max(shortest + 1, int(np.ceil(60 * STEPS_PER_SECOND / slowest)))
    count = min(longest - shortest + 1, _MOST_DISTANCES)
    steps = np.unique(np.round(np.linspace(shortest, longest, count)).astype(np.intp))
    middle, octaves = (_USUAL, _USUAL_OCTAVES) if planned is None else (planned, 0.5 * _PLANNED_OCTAVES)
    seconds = steps / STEPS_PER_SECOND
    usual = -0.5 * (np.log2(60.0 / seconds / middle) / octaves) ** 2 * _USUAL_WEIGHT * seconds
    ratio = np.log(steps[None, :] / steps[:, None])
    change = np.maximum(-0.5 * (ratio / _SPREAD) ** 2, -_JUMP_COST)
    return Distances(steps, usual, change)


def best_chain(gain: Float64, distances: Distances) -> Index:
    """Return the steps of the likeliest chain.

    Exact dynamic programming over pairs of a step and the distance to the beat before. Beats are at least the shortest
    distance apart, so as many steps are computed at once.
    """
    steps, count = distances.steps, len(distances.steps)
    at_once, longest = int(steps[0]), int(steps[-1])
    usual = distances.usual.astype(np.float32)
    arrived = np.empty((len(gain), count), dtype=np.float32)
    # No chain comes from before the first step.
    leaving = np.full((longest + len(gain), count), -np.inf, dtype=np.float32)
    before = (np.arange(at_once)[:, None] + longest - steps) * count + np.arange(count)
    band = _band_of(distances.change, at_once)
    for start in range(0, len(gain), at_once):
        here = gain[start : start + at_once, None].astype(np.float32)
        came = arrived[start : start + at_once]
        came[:] = leaving.reshape(-1)[before[: len(here)] + start * count]
        came += here + usual
        onward = _best_onward(came, band[:, :, : len(here)])
        leaving[longest + start : longest + start + len(here)] = np.maximum(here, onward)
    return _traced(gain, arrived, distances)


def _band_of(change: Float64, at_once: int) -> Float32:
    """Return the weights of small changes, (changes, columns, steps), the same for all steps; others weigh the same."""
    count = len(change)
    rows, columns = np.nonzero(change > -_JUMP_COST)
    reach = int(np.abs(rows - columns).max(initial=0))
    band = np.full((2 * reach + 1, count, at_once), -np.inf, dtype=np.float32)
    band[rows - columns + reach, columns] = change[rows, columns][:, None]
    return band


def _best_onward(arrived: Float32, band: Float32) -> Float32:
    """Return the best sum for each next distance, (steps, columns)."""
    reach, (steps, count) = len(band) // 2, arrived.shape
    padded = np.full((count + 2 * reach, steps), -np.inf, dtype=np.float32)
    padded[reach : reach + count] = arrived.T
    # Each change is a shift; with columns outside and steps inside, a shift is one run of memory.
    step = padded.itemsize
    shifts = np.ndarray((len(band), count * steps), np.float32, padded, strides=(steps * step, step))
    near: Float32 = (shifts + band.reshape(len(band), -1)).max(axis=0).reshape(count, steps).T
    far: Float32 = arrived.max(axis=1, keepdims=True) - np.float32(_JUMP_COST)
    return np.maximum(near, far)


def _traced(gain: Float64, arrived: Float32, distances: Distances) -> Index:
    """Follow the best chain from its end to its beginning."""
    if not np.isfinite(arrived).any():
        return np.zeros(0, dtype=np.intp)
    change = distances.change.astype(np.float32)
    step, column = (int(each) for each in np.unravel_index(int(arrived.argmax()), arrived.shape))
    chain = [step, step := step - int(distances.steps[column])]
    # Few pairs are in the chain, so their origins are found again instead of kept.
    while (onward := arrived[step] + change[:, column]).max() > np.float32(gain[step]):
        column = int(onward.argmax())
        step -= int(distances.steps[column])
        chain.append(step)
    return np.array(chain[::-1], dtype=np.intp)


def _fine(log_odds: Float32) -> Float64:
    """Return the gain of a beat at every step of the fine grid."""
    hops = np.arange(len(log_odds) * _FINE) / _FINE
    return np.maximum(np.interp(hops, np.arange(len(log_odds)), log_odds), _LEAST_LOG_ODDS) + _OFFSET


def _on_peaks(log_odds: Float32, beats: Float64) -> Float64:
    """Move each beat to the nearest peak within 30 ms, between the hops by a parabola."""
    if len(beats) == 0:
        return beats
    odds = np.exp(np.minimum(log_odds.astype(np.float64), 10.0))
    chance = odds / (1 + odds)
    near = np.clip(np.round(beats).astype(np.intp)[:, None] + np.arange(-1, 2), 1, len(chance) - 2)
    peak = near[np.arange(len(beats)), chance[near].argmax(axis=1)]
    left, middle, right = chance[peak - 1], chance[peak], chance[peak + 1]
    bend = left - 2 * middle + right
    is_peak = (middle >= left) & (middle >= right) & (bend < -1e-3)
    shift = np.where(is_peak, 0.5 * (left - right) / np.where(is_peak, bend, -1.0), 0.0)
    moved: Float64 = np.where(is_peak, peak + np.clip(shift, -0.5, 0.5), beats)
    return moved


def _without_doubles(beats: Float64) -> Float64:
    """Drop a beat that two windows found."""
    if len(beats) < 2:
        return beats
    least = 0.5 * float(np.median(np.diff(beats)))
    kept: Float64 = beats[np.concatenate([[True], np.diff(beats) > least])]
    return kept
