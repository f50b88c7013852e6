"""The parts of the music: where bars begin to sound otherwise, and which parts sound alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.report import StructurePart
from segue_analyzer.structure.bar_features import SILENT, bar_features
from segue_analyzer.structure.labels import label_text, part_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segue_analyzer.structure.bar_features import BarFeatures
    from segue_analyzer.structure.grid import MusicGrid
    from segue_analyzer.tonality.chroma import Harmony
    from segue_audio.arrays import Float64

MAX_PARTS: Final = 256
_LEAST_BARS: Final = 6
_REACHES: Final = (1, 2, 4, 8)
"""Bars before and after a bar that are compared."""
_PEAK_REACH: Final = 4
_PEAK_BARS: Final = 2
_WEIGHTS: Final = np.array([
    0.82, 0.38, 0.21, -0.06, 2.31,
    0.67, 0.26, 0.22, -0.10, 1.51,
    -0.69, -2.01, -0.99, -0.54, -0.32,
    0.00, -0.14, -0.15, -0.16, 1.75,
])  # fmt: skip
_OFFSET: Final = -5.59
_MAX_PART_BARS: Final = 64
_ODD_COST, _UNEVEN_COST, _SHORT_COST, _LONG_COST = 0.75, 0.35, 0.35, 0.25
"""Nats for a part of an odd number of bars, of an even one that is no multiple of four, below 4 bars, and above 16."""
_SINGLE_COST: Final = 1.0
"""More for a single bar: the first and the last one differ much from what is beside them."""
_FEWER: Final = 0.5


def find_parts(
    rows: NDArray[np.float16], harmony: Harmony, grid: MusicGrid, sample_rate: int
) -> tuple[StructurePart, ...]:
    """Return the parts, without gaps; none where there are too few bars, or silence."""
    if len(grid.bars) - 1 < _LEAST_BARS or float(rows.max(initial=-np.inf)) < SILENT:
        return ()
    features = bar_features(rows, harmony, grid)
    odds = boundary_odds(features)
    starts = part_starts(odds)
    fewer = 0.0
    while len(starts) > MAX_PARTS:
        fewer += _FEWER
        starts = part_starts(odds - fewer)
    frames = np.rint(grid.bars * sample_rate).astype(np.int64)
    ends = [*starts[1:], len(odds)]
    labels = part_labels(features, starts)
    return tuple(
        StructurePart(
            first_frame=int(frames[start]),
            frames=int(frames[end] - frames[start]),
            label=label_text(label),
            confidence=float(1 / (1 + np.exp(-odds[start]))) if start else 1.0,
        )
        for start, end, label in zip(starts, ends, labels, strict=True)
    )


def boundary_table(features: BarFeatures) -> Float64:
    """Return how much the bars before and from each bar on differ: in each view, over each reach, and as a peak."""
    columns: list[Float64] = []
    for view in features.views:
        columns += [_distances(view, reach) for reach in _REACHES]
        far = _distances(view, _PEAK_REACH)
        padded = np.pad(far, _PEAK_BARS)
        highest = np.lib.stride_tricks.sliding_window_view(padded, 2 * _PEAK_BARS + 1).max(axis=1)
        columns.append(far / np.maximum(highest, 1e-6))
    return np.stack(columns, axis=1)


def boundary_odds(features: BarFeatures) -> Float64:
    """Return the log odds that a part begins at each bar."""
    odds: Float64 = np.einsum("ij,j->i", boundary_table(features), _WEIGHTS) + _OFFSET
    return odds


def part_starts(odds: Float64) -> list[int]:
    """Return the first bars of the likeliest parts: exact dynamic programming over all lengths."""
    count = len(odds)
    lengths = np.arange(1, _MAX_PART_BARS + 1)
    costs = np.select([lengths % 2 == 1, lengths % 4 != 0], [_ODD_COST, _UNEVEN_COST], 0.0)
    costs += (
        np.where(lengths == 1, _SINGLE_COST, 0.0)
        + np.where(lengths < 4, _SHORT_COST, 0.0)
        + np.where(lengths > 16, _LONG_COST, 0.0)
    )
    best, came = np.full(count + 1, -np.inf), np.zeros(count + 1, dtype=np.intp)
    best[0] = 0.0
    for end in range(1, count + 1):
        first = end - lengths[: min(end, _MAX_PART_BARS)]
        # The recording may cut its first and last parts.
        cut = np.where(((first == 0) | (end == count)) & (first < end - 1), 0.3, 1.0)
        totals = best[first] - costs[: len(first)] * cut
        chosen = int(totals.argmax())
        best[end] = totals[chosen] + (odds[end] if end < count else 0.0)
        came[end] = first[chosen]
    starts = [int(came[count])]
    while starts[-1] > 0:
        starts.append(int(came[starts[-1]]))
    return starts[::-1]


def _distances(view: Float64, reach: int) -> Float64:
    """Return the distance between the means before and from each bar on; 0 at the first bar."""
    count = len(view)
    sums = np.concatenate([np.zeros((1, view.shape[1])), np.cumsum(view, axis=0)])
    bars = np.arange(1, count)
    first, end = np.maximum(0, bars - reach), np.minimum(count, bars + reach)
    before = (sums[bars] - sums[first]) / (bars - first)[:, None]
    after = (sums[end] - sums[bars]) / (end - bars)[:, None]
    return np.concatenate([[0.0], np.sqrt(((after - before) ** 2).sum(axis=1))])
