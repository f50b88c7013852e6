"""Attacks: how much rises in the bands at each hop, and the onsets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.rhythm.bands import BANDS, HOPS_PER_SECOND

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segue_audio.arrays import Bools, Float32, Index

_ROWS_AT_ONCE: Final = 4_096
_RANGE: Final = 6.5
"""Nats below the loudest that count, which are 56 dB."""
_RISE_HOPS: Final = 2
_LEAST_RISE: Final = 0.04
_MEAN_HOPS: Final = HOPS_PER_SECOND // 2
_NEAR_HOPS: Final = 2
_SILENT: Final = -15.0
"""The loudest band of a silent hop, in nats: -130 dBFS."""


@dataclass(frozen=True, slots=True)
class Attacks:
    """How much begins at each hop, 50 times a second."""

    rise: Float32
    """The mean rise of the bands, in nats."""
    sounds: Bools
    """Whether anything sounds."""


def find_attacks(rows: NDArray[np.float16]) -> Attacks:
    """Measure the attacks of a recording of any length, in windows."""
    count = len(rows)
    rise = np.zeros(count, dtype=np.float32)
    loudest = rows.max(axis=1).astype(np.float32) if count else np.zeros(0, dtype=np.float32)
    sounds = loudest > _SILENT
    if not sounds.any():
        return Attacks(rise, sounds)
    floor = max(float(np.quantile(loudest[sounds], 0.95)) - _RANGE, _SILENT)
    for start in range(0, count, _ROWS_AT_ONCE):
        end = min(count, start + _ROWS_AT_ONCE)
        # Before the recording there is silence.
        levels = np.full((end - start + _RISE_HOPS, BANDS), floor, dtype=np.float32)
        first = max(0, start - _RISE_HOPS)
        levels[first - start + _RISE_HOPS :] = np.maximum(rows[first:end], np.float32(floor))
        rise[start:end] = np.maximum(0, levels[_RISE_HOPS:] - _with_neighbours(levels[:-_RISE_HOPS])).mean(axis=1)
    return Attacks(rise, sounds)


def onset_hops(attacks: Attacks) -> Index:
    """Return the hops at which something begins."""
    rise = attacks.rise
    if len(rise) == 0:
        return np.zeros(0, dtype=np.intp)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(rise, _NEAR_HOPS), 2 * _NEAR_HOPS + 1)
    peak = rise == windows.max(axis=1)
    sums = np.concatenate([[0.0], np.cumsum(rise, dtype=np.float64)])
    hops = np.arange(len(rise))
    first, end = np.maximum(0, hops - _MEAN_HOPS), np.minimum(len(rise), hops + _MEAN_HOPS)
    above = rise > (sums[end] - sums[first]) / (end - first) + _LEAST_RISE
    found: Index = np.flatnonzero(peak & above & attacks.sounds)
    return found


def onsets_per_second(attacks: Attacks) -> float:
    """Return the number of onsets for each second with sound."""
    # A second with silence between its notes counts as a whole.
    starts = np.arange(0, len(attacks.sounds), HOPS_PER_SECOND)
    lengths = np.minimum(HOPS_PER_SECOND, len(attacks.sounds) - starts)
    sounding = np.logical_or.reduceat(attacks.sounds, starts) if len(starts) else attacks.sounds
    sounding_s = float(lengths[sounding].sum()) / HOPS_PER_SECOND
    return len(onset_hops(attacks)) / sounding_s if sounding_s else 0.0


def _with_neighbours(levels: Float32) -> Float32:
    """Return the highest of each band and both its neighbours: a tone that glides to the next band is no attack."""
    highest = levels.copy()
    np.maximum(highest[:, 1:], levels[:, :-1], out=highest[:, 1:])
    np.maximum(highest[:, :-1], levels[:, 1:], out=highest[:, :-1])
    return highest
