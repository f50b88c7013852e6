"""The sections of a piece in the master: the loudness that each shall have, and its gain along the piece."""

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
"""Where two sections meet, the gain goes from one to the other within this time."""


@dataclass(frozen=True, slots=True)
class MasterSection:
    """A section's place and the loudness it shall have before the piece's own gain; None: as it is."""

    section_id: str
    first_frame: int
    frames: int
    target_lufs: float | None = None


class SectionGains:
    """The gains of the sections along the piece, in decibels, with a ramp where two meet."""

    def __init__(self, sections: Sequence[MasterSection], gains_db: Sequence[float], sample_rate: int) -> None:
        places: list[float] = [0.0]
        gains: list[float] = [gains_db[0] if gains_db else 0.0]
        half = RAMP_S * sample_rate / 2
        for index in range(1, len(sections)):
            border = sections[index].first_frame
            reach = min(half, sections[index - 1].frames / 2, sections[index].frames / 2)
            places += [border - reach, border + reach]
            gains += [gains_db[index - 1], gains_db[index]]
        self._places, self._gains = np.array(places), np.array(gains)
        self._step = step_frames(sample_rate)
        self.is_level = not any(gains)

    def at(self, first_step: int, num_steps: int) -> Float64:
        """Gains at the middles of steps."""
        middles = (np.arange(first_step, first_step + num_steps) + 0.5) * self._step
        found: Float64 = np.interp(middles, self._places, self._gains)
        return found


def leveling_gain(section: MasterSection, hops: Float64, sample_rate: int) -> float:
    """The gain that gives a section its loudness; 0 where it has none to give, or is silent."""
    if section.target_lufs is None:
        return 0.0
    # The meter's hops are of whole frames: at a rate that no hundredth divides they are not quite 10 ms.
    hop_frames = round(sample_rate / 100)
    first = round(section.first_frame / hop_frames)
    last = round((section.first_frame + section.frames) / hop_frames)
    loudness = integrated(hops[first:last])
    if loudness is None:
        return 0.0
    return float(np.clip(section.target_lufs - loudness, -MAX_GAIN_DB, MAX_GAIN_DB))
