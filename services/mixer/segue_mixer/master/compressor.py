"""The glue compressor: a gentle ratio over 50 ms of K-weighted loudness."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_audio.loudness import LOUDNESS_OFFSET_DB, SILENT_POWER
from segue_mixer.master.control_grid.reduction_curve import ReductionCurve, sliding_sum
from segue_mixer.master.control_grid.steps import steps_per_ms

if TYPE_CHECKING:
    from segue_audio.arrays import Float32, Float64
    from segue_mixer.master.presets import MasterSettings

GLUE_WINDOW_MS: Final = 50.0
"""The compressor measures loudness over this time."""


class GlueCompressor:
    """Computes the gain reduction above the threshold, by the ratio."""

    def __init__(self, settings: MasterSettings, threshold_lufs: float, sample_rate: int) -> None:
        per_ms = steps_per_ms(sample_rate)
        self._share = 1 - 1 / (settings.glue_ratio or 1.0)
        self._threshold_lufs = threshold_lufs
        self._window = max(1, round(GLUE_WINDOW_MS * per_ms))
        self._powers = np.zeros(self._window - 1)
        attack_ms, release_ms = settings.glue_attack_ms or 20.0, settings.glue_release_ms or 200.0
        self._curve = ReductionCurve(per_ms, attack_ms, release_ms, 0.0)
        self.delay_steps = self._curve.delay_steps

    def push(self, powers: Float32, gain_db: float) -> Float64:
        """Add K-weighted powers; returns as many reductions, those of `delay_steps` steps before."""
        wide = np.concatenate((self._powers, powers.astype(np.float64)))
        self._powers = wide[len(powers) :]
        mean = sliding_sum(wide, self._window) / self._window
        loudness = LOUDNESS_OFFSET_DB + 10 * np.log10(np.maximum(mean, SILENT_POWER)) + gain_db
        return self._curve.push(np.maximum(loudness - self._threshold_lufs, 0.0) * self._share)
