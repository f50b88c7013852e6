"""The tone of the master: equalizer and filters, section gains, saturation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_mixer.master.control_grid.steps import BLOCK_FRAMES, interpolate_steps, step_frames
from segue_mixer.master.equalizer import make_filter
from segue_mixer.master.saturation import Saturation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_audio.arrays import Float32
    from segue_mixer.master.presets import MasterSettings
    from segue_mixer.master.section_gains import SectionGains

SATURATION_LUFS: Final = -9.0
"""Saturation treats the piece as if it were this loud: its curve bends at the peaks of a dense mix."""


class ToneShaper:
    """Shapes a piece block by block without delay: (frames, channels) in, (channels, frames) out."""

    def __init__(
        self,
        settings: MasterSettings,
        band_gains_db: Sequence[float],
        sections: SectionGains,
        draft_lufs: float | None,
        sample_rate: int,
        channels: int,
    ) -> None:
        self._sections = sections
        self._step = step_frames(sample_rate)
        self._next_step = 0
        self._filter = make_filter(settings, band_gains_db, sample_rate, channels)
        self._saturation: Saturation | None = None
        if settings.saturation and draft_lufs is not None:
            self._saturation = Saturation(settings.saturation, SATURATION_LUFS - draft_lufs, channels)

    def push(self, block: Float32) -> Float32:
        """Return a whole block with its new tone."""
        planar = np.ascontiguousarray(block.T) if self._filter is None else self._filter.push(block)
        if not self._sections.is_flat:
            num_steps = BLOCK_FRAMES // self._step
            knots = self._sections.at(self._next_step - 1, num_steps + 2)
            self._next_step += num_steps
            planar *= interpolate_steps(10 ** (knots / 20), self._step)
        return planar if self._saturation is None else self._saturation.push(planar)
