"""Section gains: the gain that gives each section its planned loudness, with ramps between sections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_audio.loudness import integrated
from segue_mixer.master.control_grid.steps import step_frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_audio.arrays import Float64

MAX_GAIN_DB: Final = 12.0
RAMP_S: Final = 0.1
"""Length of the ramp between the gains of two sections."""


@dataclass(frozen=True, slots=True)
class MasterSection:
    """A section's position, and its planned loudness before the gain of the whole piece; None: unchanged."""

    section_id: str
    first_frame: int
    frames: int
    target_lufs: float | None = None


class SectionGains:
    """Gain over time in decibels, with a ramp where two sections meet."""

    def __init__(self, sections: Sequence[MasterSection], gains_db: Sequence[float], sample_rate: int) -> None:
        positions: list[float] = [0.0]
        gains: list[float] = [gains_db[0] if gains_db else 0.0]
        half = RAMP_S * sample_rate / 2
        for index in range(1, len(sections)):
            border = sections[index].first_frame
            reach = min(half, sections[index - 1].frames / 2, sections[index].frames / 2)
            positions += [border - reach, border + reach]
            gains += [gains_db[index - 1], gains_db[index]]
        self._positions, self._gains = np.array(positions), np.array(gains)
        self._step = step_frames(sample_rate)
        self.is_flat = not any(gains)

    def at(self, first_step: int, num_steps: int) -> Float64:
        """Return the gains at the middles of steps."""
        middles = (np.arange(first_step, first_step + num_steps) + 0.5) * self._step
        found: Float64 = np.interp(middles, self._positions, self._gains)
        return found


def leveling_gain(section: MasterSection, hops: Float64, sample_rate: int) -> float:
    """Return the gain that gives a section its planned loudness; 0 without a plan or in silence."""
    if section.target_lufs is None:
        return 0.0
    # Hops of the meter are whole frames: at a rate that 100 does not divide they are not exactly 10 ms.
    hop_frames = round(sample_rate / 100)
    first = round(section.first_frame / hop_frames)
    last = round((section.first_frame + section.frames) / hop_frames)
    loudness = integrated(hops[first:last])
    if loudness is None:
        return 0.0
    return float(np.clip(section.target_lufs - loudness, -MAX_GAIN_DB, MAX_GAIN_DB))
