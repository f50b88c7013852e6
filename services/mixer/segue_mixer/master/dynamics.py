"""What gain, glue compressor and limiter do to each step: the one place that both passes of the master use."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_mixer.master.control_grid.steps import BLOCK_FRAMES, Look, StepLevels, between_steps, step_frames
from segue_mixer.master.reduction_curve import ReductionCurve, sliding_sum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_audio.arrays import Float32, Float64
    from segue_mixer.master.presets import MasterSettings

SILENT: Final = 1e-9
SILENT_POWER: Final = 1e-15
LOUDNESS_OFFSET_DB: Final = -0.691
CEILING_MARGIN_DB: Final = 0.05
"""The limiter aims this far under the ceiling: meters differ in how they look between the samples."""
LIMITER_HOLD_MS: Final = 10.0
"""Peaks of a low note come this often: without a hold the gain would follow its wave."""
GLUE_WINDOW_MS: Final = 50.0
"""The glue compressor hears loudness over this time."""


class Limiter:
    """Holds the ceiling: reduction from true peaks."""

    def __init__(self, settings: MasterSettings, sample_rate: int) -> None:
        self._ceiling_db = math.inf if settings.ceiling_dbtp is None else settings.ceiling_dbtp - CEILING_MARGIN_DB
        lookahead_ms, release_ms = settings.lookahead_ms or 5.0, settings.limiter_release_ms or 100.0
        self._curve = ReductionCurve(_steps_per_ms(sample_rate), lookahead_ms, release_ms, LIMITER_HOLD_MS)
        self.delay_steps = self._curve.delay_steps
        self.max_reduction_db = 0.0

    def push(self, level_db: Float64) -> Float64:
        """Take true peaks in dB; give the reduction of as many steps, `delay_steps` before."""
        reduction = self._curve.push(np.maximum(level_db - self._ceiling_db, 0.0))
        self.max_reduction_db = max(self.max_reduction_db, float(reduction.max(initial=0.0)))
        return reduction


class Glue:
    """A gentle compressor: what is louder than the threshold, by 50 ms, comes down by the ratio."""

    def __init__(self, settings: MasterSettings, threshold_lufs: float, sample_rate: int) -> None:
        steps_per_ms = _steps_per_ms(sample_rate)
        self._take = 1 - 1 / (settings.glue_ratio or 1.0)
        self._threshold_lufs = threshold_lufs
        self._window = max(1, round(GLUE_WINDOW_MS * steps_per_ms))
        self._powers = np.zeros(self._window - 1)
        attack_ms, release_ms = settings.glue_attack_ms or 20.0, settings.glue_release_ms or 200.0
        self._curve = ReductionCurve(steps_per_ms, attack_ms, release_ms, 0.0)
        self.delay_steps = self._curve.delay_steps

    def push(self, powers: Float32, gain_db: float) -> Float64:
        """Take K-weighted powers; give the reduction of as many steps, `delay_steps` before."""
        wide = np.concatenate((self._powers, powers.astype(np.float64)))
        self._powers = wide[len(powers) :]
        mean = sliding_sum(wide, self._window) / self._window
        loudness = LOUDNESS_OFFSET_DB + 10 * np.log10(np.maximum(mean, SILENT_POWER)) + gain_db
        return self._curve.push(np.maximum(loudness - self._threshold_lufs, 0.0) * self._take)


class Dynamics:
    """Gain, glue and limiter for one gain into them."""

    def __init__(self, settings: MasterSettings, gain_db: float, draft_lufs: float | None, sample_rate: int) -> None:
        self._gain_db = gain_db
        self.limiter = Limiter(settings, sample_rate)
        self._glue: Glue | None = None
        # Above or below the piece's loudness as it will be: the amount does not depend on how loud the draft was.
        around = settings.target_lufs if settings.target_lufs is not None else draft_lufs
        if (settings.glue_ratio or 1.0) > 1.0 and around is not None:
            self._glue = Glue(settings, around + (settings.glue_threshold_lu or 0.0), sample_rate)
        glue_delay = self._glue.delay_steps if self._glue else 0
        self._peaks = np.zeros(glue_delay, np.float32)
        self._reduction = np.zeros(self.limiter.delay_steps)
        self.next_out = -glue_delay - self.limiter.delay_steps
        """The first step of the gains that come next."""
        self.max_reduction_db = 0.0

    @property
    def listens_to_power(self) -> bool:
        """Whether powers are needed, or only peaks."""
        return self._glue is not None

    def push(self, peaks: Float32, powers: Float32) -> Float64:
        """Take levels of the next steps; give the gains, in dB, of as many steps from `next_out` on."""
        peaks = np.concatenate((self._peaks, peaks))
        self._peaks = peaks[len(peaks) - len(self._peaks) :]
        peaks = peaks[: len(peaks) - len(self._peaks)]
        glue = self._glue.push(powers, self._gain_db) if self._glue else np.zeros(len(peaks))
        level_db = 20 * np.log10(np.maximum(peaks, SILENT, dtype=np.float64)) + self._gain_db - glue
        limiting = self.limiter.push(level_db)
        glue = np.concatenate((self._reduction, glue))
        self._reduction = glue[len(limiting) :]
        reduction = glue[: len(limiting)] + limiting
        self.max_reduction_db = max(self.max_reduction_db, float(reduction.max(initial=0.0)))
        self.next_out += len(limiting)
        return self._gain_db - reduction


class GainStage:
    """Puts the gains of a `Dynamics` on sound, block by block, in step with its look-ahead."""

    def __init__(self, dynamics: Dynamics, look: Look, sample_rate: int, channels: int) -> None:
        self.dynamics = dynamics
        self._step = step_frames(sample_rate)
        self._block_steps = BLOCK_FRAMES // self._step
        self._levels = StepLevels(sample_rate, channels, look, with_power=dynamics.listens_to_power)
        self._blocks: list[Float32] = []
        self._gains = np.zeros(0)
        self._first = dynamics.next_out
        self._next = 0
        """The first step of the block that comes out next."""

    def push(self, block: Float32) -> Iterator[Float32]:
        """Take a whole block, (channels, frames); give those that are ready."""
        self._blocks.append(block)
        levels = self._levels.push(block)
        if levels is None:
            return
        self._gains = np.concatenate((self._gains, self.dynamics.push(*levels)))
        while self._first + len(self._gains) > self._next + self._block_steps:
            start = self._next - 1 - self._first
            knots = self._gains[start : start + self._block_steps + 2]
            gain = between_steps(10 ** (knots / 20), self._step)
            yield self._blocks.pop(0) * gain
            self._next += self._block_steps
            self._gains = self._gains[self._next - 1 - self._first :]
            self._first = self._next - 1


def _steps_per_ms(sample_rate: int) -> float:
    return sample_rate / step_frames(sample_rate) / 1000
