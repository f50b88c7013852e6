"""The beats and bars of a whole recording, also where none is heard, and means over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segue_analyzer.rhythm.tempo import Pulse
    from segue_audio.arrays import Bools, Float64

_BEAT_S: Final = 0.5
_BEATS_A_BAR: Final = 4
"""Where no tempo or no bars are found."""
_LEAST_PART: Final = 0.25
"""A rest at either end that is shorter than this share of a beat or bar belongs to its neighbour."""
_SAME_S: Final = 0.03


@dataclass(frozen=True, slots=True)
class MusicGrid:
    """Edges of beats and bars in seconds, from the start to the end of the recording."""

    beats: Float64
    bars: Float64
    opens_bar: Bools
    """Whether each beat opens a bar; none does where no bars are heard."""


def music_grid(pulse: Pulse | None, seconds: float) -> MusicGrid:
    """Lay beats and bars over the whole recording."""
    if pulse is None or len(pulse.beats) < 2:
        beats = _filled(np.arange(0.0, seconds, _BEAT_S), seconds)
        bars = _filled(np.arange(0.0, seconds, _BEAT_S * _BEATS_A_BAR), seconds)
        return MusicGrid(beats, bars, np.zeros(max(0, len(beats) - 1), dtype=bool))
    has_bars = len(pulse.downbeats) >= 2
    beats = _filled(pulse.beats, seconds)
    bars = _filled(pulse.downbeats if has_bars else pulse.beats[::_BEATS_A_BAR], seconds)
    opens = np.zeros(max(0, len(beats) - 1), dtype=bool)
    if has_bars:
        nearest = bars[np.clip(np.searchsorted(bars, beats[:-1] - _SAME_S), 0, len(bars) - 1)]
        opens = np.abs(nearest - beats[:-1]) < _SAME_S
    return MusicGrid(beats, bars, opens)


def means_between(rows: NDArray[np.floating], edges_s: Float64, rows_per_second: float) -> Float64:
    """Return the mean of the rows between neighbouring edges; a row stands for the time around its moment."""
    edges = np.clip(edges_s * rows_per_second + 0.5, 0, len(rows))
    sums = np.zeros((len(rows) + 1, rows.shape[1]))
    np.cumsum(rows, axis=0, dtype=np.float64, out=sums[1:])
    whole = np.minimum(edges.astype(np.intp), max(0, len(rows) - 1))
    part = (edges - whole)[:, None]
    at_edges = sums[whole] * (1 - part) + sums[np.minimum(whole + 1, len(rows))] * part
    found: Float64 = np.diff(at_edges, axis=0) / np.maximum(np.diff(edges), 1e-9)[:, None]
    return found


def _filled(edges: Float64, seconds: float) -> Float64:
    """Continue edges at their usual distance to both ends."""
    if len(edges) < 2:
        return np.array([0.0, seconds])
    step = float(np.median(np.diff(edges)))
    before = edges[0] - step * np.arange(int(edges[0] / step), 0, -1)
    after = edges[-1] + step * np.arange(1, max(0, int((seconds - edges[-1]) / step)) + 1)
    every = np.concatenate([before, edges, after])
    inside = every[(every > _LEAST_PART * step) & (every < seconds - _LEAST_PART * step)]
    filled: Float64 = np.concatenate([[0.0], inside, [seconds]])
    return filled
