"""The short-term loudness over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.report import LoudnessPoint
from segue_audio.loudness import lufs_of

if TYPE_CHECKING:
    from segue_audio.arrays import Float64

_HOPS_PER_SECOND: Final = 100
_WINDOW_HOPS: Final = 300
_STEP_HOPS: Final = 50
_MAX_POINTS: Final = 2_048


def loudness_curve(hop_powers: Float64, sample_rate: int) -> tuple[LoudnessPoint, ...]:
    """Return the loudness of windows of 3 s (EBU Tech 3341), every 0.5 s or a multiple of it."""
    if len(hop_powers) < _WINDOW_HOPS:
        return ()
    count = (len(hop_powers) - _WINDOW_HOPS) // _STEP_HOPS + 1
    starts = np.arange(0, count, -(-count // _MAX_POINTS)) * _STEP_HOPS
    sums = np.concatenate([[0.0], np.cumsum(hop_powers)])
    powers = np.maximum(0.0, sums[starts + _WINDOW_HOPS] - sums[starts]) / _WINDOW_HOPS
    # The meter's hops have whole frames.
    hop_frames = round(sample_rate / _HOPS_PER_SECOND)
    frames = (starts + _WINDOW_HOPS // 2) * hop_frames
    return tuple(LoudnessPoint(*each) for each in zip(frames.tolist(), map(lufs_of, powers.tolist()), strict=True))
