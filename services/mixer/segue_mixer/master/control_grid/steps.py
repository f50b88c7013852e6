"""The steps of the control grid, their levels, and interpolation between them.

Every gain of the master that changes over time is set per step and is linear between the middles of steps. A few
numbers per step therefore tell the first pass what the second pass will do.
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
    """Return the frames of one step: about 0.7 ms."""
    if sample_rate <= 24_000:
        return 16
    if sample_rate <= 64_000:
        return 32
    return 64 if sample_rate <= 128_000 else 128


def steps_per_ms(sample_rate: int) -> float:
    """Return the number of steps in a millisecond."""
    return sample_rate / step_frames(sample_rate) / 1000


@dataclass(frozen=True, slots=True)
class PeakSearch:
    """How closely to search for peaks between samples."""

    oversampling: int
    taps: int
    above: float = 0.0
    """Only near samples above this value."""


QUICK: Final = PeakSearch(4, TAPS)
"""Exact to 0.1 dB for all but the highest tenth of the spectrum."""


def close_search(ceiling_dbtp: float) -> PeakSearch:
    """Return a search that is exact to 0.48 of the sampling rate, where a limited high tone peaks, near the ceiling."""
    return PeakSearch(8, 128, 0.5 * 10 ** (ceiling_dbtp / 20))


class StepLevels:
    """True peak and K-weighted power of every step, over all channels; a block's come with the block after it."""

    def __init__(self, sample_rate: int, channels: int, search: PeakSearch, *, with_power: bool) -> None:
        self._step = step_frames(sample_rate)
        self._search = search
        # Silence before the first frame and after the last.
        self._padded = np.zeros((channels, BLOCK_FRAMES + search.taps), np.float32)
        self._power = StepPower(sample_rate, channels, self._step, BLOCK_FRAMES) if with_power else None
        self._powers = np.zeros(BLOCK_FRAMES // self._step, np.float32)
        self._begun = False

    def push(self, block: Float32) -> tuple[Float32, Float32] | None:
        """Add a block, (channels, frames); returns peaks and powers of the block before it."""
        search, half = self._search, self._search.taps // 2
        levels: tuple[Float32, Float32] | None = None
        if self._begun:
            self._padded[:, -half:] = block[:, :half]
            peaks = interpolated_peaks(
                self._padded, search.oversampling, self._step, taps=search.taps, above=search.above
            )
            levels = (peaks, self._powers)
            self._padded[:, :half] = self._padded[:, BLOCK_FRAMES : BLOCK_FRAMES + half]
        self._padded[:, half : half + BLOCK_FRAMES] = block
        if self._power is not None:
            self._powers = self._power.push(block)
        self._begun = True
        return levels


def interpolate_steps(knots: Float64, frames_per_step: int) -> Float32:
    """Draw lines through the middles of steps: n + 2 knots (one before, one after) become n steps of frames."""
    if (knots == knots[0]).all():
        # Gains stand still most of the time.
        return np.full((len(knots) - 2) * frames_per_step, knots[0], np.float32)
    position = (np.arange(frames_per_step) + 0.5) / frames_per_step
    early = frames_per_step // 2
    before, here, after = knots[:-2, None], knots[1:-1, None], knots[2:, None]
    curve = np.empty((len(knots) - 2, frames_per_step), np.float32)
    curve[:, :early] = before + (here - before) * (position[:early] + 0.5)
    curve[:, early:] = here + (after - here) * (position[early:] - 0.5)
    return curve.reshape(-1)
