"""The true-peak look-ahead limiter, as a curve on the control grid: how much each step is turned down.

The reduction that each step needs is held over the look-ahead, let go at a constant speed in decibels, and smoothed
by two boxes that fit into the hold, so that the curve is smooth and never above what is needed. All of it looks back
a bounded time: what lies behind it has no influence, to the last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_mixer.steps import step_frames

if TYPE_CHECKING:
    from segue_mixer.material import Float64

HOLD_MS: Final = 10.0
"""Peaks of a low note come this often: without a hold the gain would follow its wave."""
RELEASE_DB: Final = 10.0
"""The release time is that of this much."""


class LimiterCurve:
    """Turns what each step needs into what it gets, `delay_steps` later; both in positive decibels."""

    def __init__(self, sample_rate: int, lookahead_ms: float, release_ms: float) -> None:
        steps_per_ms = sample_rate / step_frames(sample_rate) / 1000
        box = max(2, round(lookahead_ms * steps_per_ms / 2))
        self._kernel = np.convolve(np.ones(box) / box, np.ones(box) / box)
        # One step more on both sides: between the middles of two steps the curve leans on both.
        self._window = len(self._kernel) + 2 + round(HOLD_MS * steps_per_ms)
        self.delay_steps = len(self._kernel)
        self._slope_db = RELEASE_DB / (release_ms * steps_per_ms)
        self._needed = np.zeros(self._window - 1)
        self._held = np.zeros(len(self._kernel) - 1)
        self._level = 0.0

    def push(self, needed_db: Float64) -> Float64:
        """Take what the next steps need; give as many steps, those of `delay_steps` before."""
        wide = np.concatenate((self._needed, needed_db))
        self._needed = wide[len(needed_db) :]
        held = _sliding_max(wide, self._window)
        fall = self._slope_db * np.arange(1, len(held) + 1)
        released = np.maximum.accumulate(np.concatenate(([self._level], held + fall)))[1:] - fall
        # A level that has fallen to nothing is nothing, so that no trace of it is left in later steps.
        released = np.maximum(released, held)
        self._level = float(released[-1])
        wide = np.concatenate((self._held, released))
        self._held = wide[len(released) :]
        smooth = np.zeros(len(released))
        for index, weight in enumerate(self._kernel):
            smooth += weight * wide[index : index + len(released)]
        return smooth


def _sliding_max(values: Float64, width: int) -> Float64:
    """Highest of each `width` neighbours, by doubling."""
    span = 1
    while span * 2 <= width:
        values = np.maximum(values[:-span], values[span:])
        span *= 2
    rest = width - span
    return np.maximum(values[: len(values) - rest], values[rest:]) if rest else values
