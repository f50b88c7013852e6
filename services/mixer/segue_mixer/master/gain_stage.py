"""Gain, compressor and limiter together; both passes of the master compute gains here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_mixer.master.compressor import GlueCompressor
from segue_mixer.master.control_grid.steps import (
    BLOCK_FRAMES,
    PeakSearch,
    StepLevels,
    interpolate_steps,
    step_frames,
)
from segue_mixer.master.limiter import Limiter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_audio.arrays import Float32, Float64
    from segue_mixer.master.presets import MasterSettings

SILENT_PEAK: Final = 1e-9


class GainComputer:
    """Computes the gain of every step from its levels: a constant gain, then compressor and limiter."""

    def __init__(self, settings: MasterSettings, gain_db: float, draft_lufs: float | None, sample_rate: int) -> None:
        self._gain_db = gain_db
        self.limiter = Limiter(settings, sample_rate)
        self._compressor: GlueCompressor | None = None
        # The threshold is relative to the loudness of the result, so the draft's loudness does not change the effect.
        around = settings.target_lufs if settings.target_lufs is not None else draft_lufs
        if (settings.glue_ratio or 1.0) > 1.0 and around is not None:
            self._compressor = GlueCompressor(settings, around + (settings.glue_threshold_lu or 0.0), sample_rate)
        compressor_delay = self._compressor.delay_steps if self._compressor else 0
        self._peaks = np.zeros(compressor_delay, np.float32)
        self._reduction = np.zeros(self.limiter.delay_steps)
        self.next_out = -compressor_delay - self.limiter.delay_steps
        """The first step of the gains that come next."""
        self.max_reduction_db = 0.0

    @property
    def needs_power(self) -> bool:
        """Whether `push` needs powers, not peaks alone."""
        return self._compressor is not None

    def push(self, peaks: Float32, powers: Float32) -> Float64:
        """Add levels of the next steps; returns as many gains in dB, from step `next_out` on."""
        peaks = np.concatenate((self._peaks, peaks))
        self._peaks = peaks[len(peaks) - len(self._peaks) :]
        peaks = peaks[: len(peaks) - len(self._peaks)]
        compression = self._compressor.push(powers, self._gain_db) if self._compressor else np.zeros(len(peaks))
        level_db = 20 * np.log10(np.maximum(peaks, SILENT_PEAK, dtype=np.float64)) + self._gain_db - compression
        limiting = self.limiter.push(level_db)
        compression = np.concatenate((self._reduction, compression))
        self._reduction = compression[len(limiting) :]
        reduction = compression[: len(limiting)] + limiting
        self.max_reduction_db = max(self.max_reduction_db, float(reduction.max(initial=0.0)))
        self.next_out += len(limiting)
        return self._gain_db - reduction


class GainStage:
    """Applies the gains of a `GainComputer` to audio, block by block, delayed by its look-ahead."""

    def __init__(self, gains: GainComputer, search: PeakSearch, sample_rate: int, channels: int) -> None:
        self.computer = gains
        self._step = step_frames(sample_rate)
        self._block_steps = BLOCK_FRAMES // self._step
        self._levels = StepLevels(sample_rate, channels, search, with_power=gains.needs_power)
        self._blocks: list[Float32] = []
        self._gains = np.zeros(0)
        self._first = gains.next_out
        self._next = 0
        """The first step of the block that comes out next."""

    def push(self, block: Float32) -> Iterator[Float32]:
        """Add a whole block, (channels, frames); yields the blocks that are ready."""
        self._blocks.append(block)
        levels = self._levels.push(block)
        if levels is None:
            return
        self._gains = np.concatenate((self._gains, self.computer.push(*levels)))
        while self._first + len(self._gains) > self._next + self._block_steps:
            start = self._next - 1 - self._first
            knots = self._gains[start : start + self._block_steps + 2]
            gain = interpolate_steps(10 ** (knots / 20), self._step)
            yield self._blocks.pop(0) * gain
            self._next += self._block_steps
            self._gains = self._gains[self._next - 1 - self._first :]
            self._first = self._next - 1
