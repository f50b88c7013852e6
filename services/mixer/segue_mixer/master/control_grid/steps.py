"""The master's control grid: sound in blocks of whole steps, and the levels of every step.

Everything that moves in time in the master moves on this grid and is drawn straight between the steps' middles, so
that the first pass can know from a few numbers a step what the second pass will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_audio.truepeak import TAPS, interpolated_peaks
from segue_mixer.master.control_grid.step_power import StepPower

if TYPE_CHECKING:
    from segue_audio.arrays import Float32, Float64

BLOCK_FRAMES: Final = 16_384


def step_frames(sample_rate: int) -> int:
    """Frames of one step: about 0.7 ms."""
    if sample_rate <= 24_000:
        return 16
    if sample_rate <= 64_000:
        return 32
    return 64 if sample_rate <= 128_000 else 128


@dataclass(frozen=True, slots=True)
class Look:
    """How closely peaks between the samples are looked for."""

    oversampling: int
    taps: int
    above: float = 0.0
    """Where no sample is higher than this, none is looked for."""


QUICK: Final = Look(4, TAPS)
"""Right within 0.1 dB for all but the highest tenth of the spectrum."""


def close_look(ceiling_dbtp: float) -> Look:
    """Right to 0.48 of the sampling rate, as a hard cut of a high tone needs, and only where the ceiling is near."""
    return Look(8, 128, 0.5 * 10 ** (ceiling_dbtp / 20))


class StepLevels:
    """True peak and K-weighted power of every step, over all channels; a block's come with the block after it."""

    def __init__(self, sample_rate: int, channels: int, look: Look, *, with_power: bool) -> None:
        self._step = step_frames(sample_rate)
        self._look = look
        # Before the first frame and after the last there is silence.
        self._padded = np.zeros((channels, BLOCK_FRAMES + look.taps), np.float32)
        self._power = StepPower(sample_rate, channels, self._step, BLOCK_FRAMES) if with_power else None
        self._powers = np.zeros(BLOCK_FRAMES // self._step, np.float32)
        self._begun = False

    def push(self, block: Float32) -> tuple[Float32, Float32] | None:
        """Take a block, (channels, frames); give peaks and powers of the block before it."""
        look, half = self._look, self._look.taps // 2
        levels: tuple[Float32, Float32] | None = None
        if self._begun:
            self._padded[:, -half:] = block[:, :half]
            peaks = interpolated_peaks(self._padded, look.oversampling, self._step, taps=look.taps, above=look.above)
            levels = (peaks, self._powers)
            self._padded[:, :half] = self._padded[:, BLOCK_FRAMES : BLOCK_FRAMES + half]
        self._padded[:, half : half + BLOCK_FRAMES] = block
        if self._power is not None:
            self._powers = self._power.push(block)
        self._begun = True
        return levels


def between_steps(knots: Float64, frames_a_step: int) -> Float32:
    """Draw a curve through the middles of steps: from n + 2 knots (one before, one after) to n steps of frames."""
    place = (np.arange(frames_a_step) + 0.5) / frames_a_step
    early = frames_a_step // 2
    before, here, after = knots[:-2, None], knots[1:-1, None], knots[2:, None]
    curve = np.empty((len(knots) - 2, frames_a_step), np.float32)
    curve[:, :early] = before + (here - before) * (place[:early] + 0.5)
    curve[:, early:] = here + (after - here) * (place[early:] - 0.5)
    return curve.reshape(-1)
