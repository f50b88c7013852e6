"""The beats at which drums play: how much each beat sounds like drums, by weights learned from our own band."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.rhythm.bands import HOPS_PER_SECOND

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segue_audio.arrays import Float32, Float64, Index

_EDGES: Final = (0, 9, 18, 30, 42, 50, 58, 66)
"""Edges of seven groups of the bands; they are about 30, 65, 140, 410, 1170, 2500, 5300 and 10500 Hz."""
_GROUPS: Final = len(_EDGES) - 1
_HIGH_BAND, _HIGH_GROUP = 46, 5
_RANGE: Final = 7.5
"""Nats below the loudest that count, which are 65 dB."""
_SILENT: Final = -15.0
_RISE_HOPS: Final = 2
_BEFORE_HOPS, _AFTER_HOPS = 3, 7
"""A hit is above what is 60 ms before and 140 ms after."""
_EARLY_HOPS: Final = 2
"""Windows hear an attack before it begins."""
_AROUND: Final = 4
"""Beats before and after that decide about a beat, twice."""
_SURE: Final = 2.0
"""Log odds beyond it count no more: one loud beat must not decide about its neighbours."""
_LEAST_BEATS: Final = 8
_LEAST_HOPS: Final = 4
"""A beat with fewer says nothing."""
_BEATS_AT_ONCE: Final = 128
_WEIGHTS: Final = np.array([
    0.11, 0.31, 0.22, -1.81, -1.34, -2.44, 0.70,
    -0.45, 2.61, -0.22, -0.27, 2.40, 1.21, 3.55,
    0.49, 1.43, 0.60, -0.62, 0.09, 0.05, 1.38,
    -1.71, 0.16,
])  # fmt: skip
_OFFSET: Final = 10.34


def find_drum_beats(rows: NDArray[np.float16], beats_s: Float64) -> Float64:
    """Return the beats, in seconds, at which drums play."""
    if len(beats_s) < _LEAST_BEATS or float(rows.max(initial=-np.inf)) < _SILENT:
        return beats_s[:0]
    odds = np.einsum("ij,j->i", beat_table(rows, beats_s), _WEIGHTS) + _OFFSET
    plays = _smoothed(_smoothed(np.clip(odds, -_SURE, _SURE))) > 0
    return beats_s[plays] if np.count_nonzero(plays) >= _LEAST_BEATS else beats_s[:0]


def beat_table(rows: NDArray[np.float16], beats_s: Float64) -> Float64:
    """Return for each beat: rise, hits and level of the groups; how uneven the high bands are, and how high."""
    loudest = rows.max(axis=1).astype(np.float32)
    floor = max(float(np.quantile(loudest, 0.95)) - _RANGE, _SILENT)
    edges = np.append(beats_s, beats_s[-1] + np.median(np.diff(beats_s))) * HOPS_PER_SECOND
    hops = np.clip(edges.astype(np.intp) - _EARLY_HOPS, 0, len(rows))
    tables = [
        _table_of(rows, loudest, floor, hops[first : first + _BEATS_AT_ONCE + 1])
        for first in range(0, len(beats_s), _BEATS_AT_ONCE)
    ]
    return np.concatenate(tables)


def _table_of(rows: NDArray[np.float16], loudest: Float32, floor: float, hops: Index) -> Float64:
    """Return the table of neighbouring beats, which begin at all hops but the last."""
    first, end = int(hops[0]), int(hops[-1])
    table = np.zeros((len(hops) - 1, 3 * _GROUPS + 2))
    sizes = np.diff(hops)
    kept = sizes > 0
    if not kept.any():
        return table
    places = np.clip(np.arange(first - _BEFORE_HOPS, end + _AFTER_HOPS), 0, len(rows) - 1)
    bands = np.maximum(rows[places].astype(np.float32), np.float32(floor))
    groups = np.add.reduceat(bands, _EDGES[:-1], axis=1) / np.diff(_EDGES)
    here = groups[_BEFORE_HOPS : len(groups) - _AFTER_HOPS]
    rise = here - groups[_BEFORE_HOPS - _RISE_HOPS : len(groups) - _AFTER_HOPS - _RISE_HOPS]
    hits = here - np.maximum(groups[: len(here)], groups[_BEFORE_HOPS + _AFTER_HOPS :])
    uneven = bands[_BEFORE_HOPS : len(bands) - _AFTER_HOPS, _HIGH_BAND:].std(axis=1, keepdims=True)
    starts = hops[:-1][kept] - first
    highest = np.maximum.reduceat(np.concatenate([rise, hits, here[:, _HIGH_GROUP:]], axis=1), starts)
    sums = np.add.reduceat(np.concatenate([here, loudest[first:end, None], uneven], axis=1), starts, dtype=np.float64)
    means = sums / sizes[kept, None]
    table[kept, : 2 * _GROUPS] = np.maximum(0.0, highest[:, : 2 * _GROUPS])
    table[kept, 2 * _GROUPS : 3 * _GROUPS] = means[:, :_GROUPS] - means[:, _GROUPS : _GROUPS + 1]
    table[kept, -2] = means[:, -1]
    table[kept, -1] = highest[:, 2 * _GROUPS :].max(axis=1) - floor
    table[sizes < _LEAST_HOPS] = 0.0
    return table


def _smoothed(values: Float64) -> Float64:
    """Return the mean over the beats around each beat."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    beats = np.arange(len(values))
    first, end = np.maximum(0, beats - _AROUND), np.minimum(len(values), beats + _AROUND + 1)
    means: Float64 = (sums[end] - sums[first]) / (end - first)
    return means
