"""The loudness limiter: keeps true peaks under the ceiling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_mixer.master.control_grid.reduction_curve import ReductionCurve
from segue_mixer.master.control_grid.steps import steps_per_ms

if TYPE_CHECKING:
    from segue_audio.arrays import Float64
    from segue_mixer.master.presets import MasterSettings

CEILING_MARGIN_DB: Final = 0.05
"""The limiter aims this far under the ceiling: meters differ in how they find peaks between samples."""
LIMITER_HOLD_MS: Final = 10.0
"""Peaks of a low note are this far apart: without a hold the gain would follow its wave."""


class Limiter:
    """Computes the gain reduction that keeps true peaks under the ceiling."""

    def __init__(self, settings: MasterSettings, sample_rate: int) -> None:
        self._ceiling_db = math.inf if settings.ceiling_dbtp is None else settings.ceiling_dbtp - CEILING_MARGIN_DB
        lookahead_ms, release_ms = settings.lookahead_ms or 5.0, settings.limiter_release_ms or 100.0
        self._curve = ReductionCurve(steps_per_ms(sample_rate), lookahead_ms, release_ms, LIMITER_HOLD_MS)
        self.delay_steps = self._curve.delay_steps
        self.max_reduction_db = 0.0

    def push(self, level_db: Float64) -> Float64:
        """Add true peaks in dB; returns as many reductions, those of `delay_steps` steps before."""
        reduction = self._curve.push(np.maximum(level_db - self._ceiling_db, 0.0))
        self.max_reduction_db = max(self.max_reduction_db, float(reduction.max(initial=0.0)))
        return reduction
