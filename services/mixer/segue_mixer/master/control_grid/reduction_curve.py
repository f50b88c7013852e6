"""Gain reduction over time: turns the reduction that each step needs into a smooth curve that is never below it.

The need is held over the look-ahead, released at a constant speed in decibels, and smoothed by two boxes that fit into
the hold. The curve depends on a bounded time only: earlier levels have no influence, to the last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from segue_audio.arrays import Float64

RELEASE_DB: Final = 10.0
"""The reduction falls by this much in the release time."""


class ReductionCurve:
    """Smooths needed reductions; the result comes `delay_steps` later. Both are positive decibels."""

    def __init__(self, steps_per_ms: float, lookahead_ms: float, release_ms: float, hold_ms: float) -> None:
        self._box = max(2, round(lookahead_ms * steps_per_ms / 2))
        reach = 2 * self._box - 1
        # One more step on each side: between the middles of two steps the curve depends on both.
        self._window = reach + 2 + round(hold_ms * steps_per_ms)
        self.delay_steps = reach
        self._slope_db = RELEASE_DB / (release_ms * steps_per_ms)
        self._needed = np.zeros(self._window - 1)
        self._held = np.zeros(reach - 1)
        self._level = 0.0

    def push(self, needed_db: Float64) -> Float64:
        """Add the needs of the next steps; returns as many reductions, those of `delay_steps` steps before."""
        wide = np.concatenate((self._needed, needed_db))
        self._needed = wide[len(needed_db) :]
        held = sliding_max(wide, self._window)
        if self._level == 0.0 and not held.any() and not self._held.any():
            return held
        fall = self._slope_db * np.arange(1, len(held) + 1)
        released = np.maximum.accumulate(np.concatenate(([self._level], held + fall)))[1:] - fall
        # A release that has fallen to the need leaves no trace in later steps.
        released = np.maximum(released, held)
        self._level = float(released[-1])
        wide = np.concatenate((self._held, released))
        self._held = wide[len(released) :]
        return sliding_sum(sliding_sum(wide, self._box), self._box) / self._box**2


def sliding_max(values: Float64, width: int) -> Float64:
    """Return the maximum of each `width` neighbours, by doubling."""
    span = 1
    while span * 2 <= width:
        values = np.maximum(values[:-span], values[span:])
        span *= 2
    rest = width - span
    return np.maximum(values[: len(values) - rest], values[rest:]) if rest else values


def sliding_sum(values: Float64, width: int) -> Float64:
    """Return the sum of each `width` neighbours, by doubling: each sum uses its own values only, in a fixed order."""
    total: Float64 | None = None
    length = len(values) - width + 1
    done, span = 0, 1
    while True:
        if width & span:
            part = values[done : done + length]
            total = part.copy() if total is None else total + part
            done += span
        if span * 2 > width:
            break
        values = values[:-span] + values[span:]
        span *= 2
    return np.zeros(length) if total is None else total
