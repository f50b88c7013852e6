"""Pass MEASURE of the master: measures the draft and finds every gain.

It reads the piece twice, once from the sender and once from a temporary file. The tone is known only at the end of the
piece, and the effect of compressor and limiter only after the tone. The second reading keeps two numbers per step,
power and true peak. They tell for any gain what compressor and limiter will do and how loud the result will be, so the
gain that reaches the target is exact.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_audio.blocks import Reblocker
from segue_audio.loudness import Loudness, LoudnessMeter
from segue_mixer.master.control_grid.step_file import StepFile
from segue_mixer.master.control_grid.steps import BLOCK_FRAMES, QUICK, StepLevels
from segue_mixer.master.section_gains import MasterSection, SectionGains, leveling_gain
from segue_mixer.master.target_gain import find_target_gain
from segue_mixer.master.tonal_balance import BandLevels, balancing_gains
from segue_mixer.master.tone import ToneShaper

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_audio.arrays import Float32
    from segue_mixer.master.presets import MasterSettings

VERSION: Final = "segue-master-5"


@dataclass(frozen=True, slots=True)
class MasterMeasurement:
    """The result of pass MEASURE: everything that pass RENDER needs."""

    settings: MasterSettings
    loudness: Loudness
    gain_db: float
    section_gains_db: tuple[float, ...]
    band_gains_db: tuple[float, ...]


class MeasurePass:
    """Measures a draft: `push` …, then `read_again` to its end, then `measurement`, then `close`."""

    def __init__(
        self, settings: MasterSettings, sections: Sequence[MasterSection], sample_rate: int, channels: int
    ) -> None:
        self._settings = settings
        self._sections = tuple(sections)
        self._rate = sample_rate
        self._channels = channels
        self._reblocker = Reblocker(BLOCK_FRAMES, channels)
        self._meter = LoudnessMeter(sample_rate, channels)
        self._bands = BandLevels(sample_rate, BLOCK_FRAMES)
        # A file, so that memory does not grow with the piece.
        self._copy = None if settings.is_bypass else tempfile.TemporaryFile(prefix="segue-master-")  # noqa: SIM115 - closed in close
        self._frames = 0
        self._steps = None if settings.is_bypass else StepFile()

    def close(self) -> None:
        """Delete the temporary files."""
        for file in (self._copy, self._steps):
            if file is not None:
                file.close()

    def push(self, block: Float32) -> None:
        """Add audio."""
        self._frames += len(block)
        # The meter takes blocks of any size, and each call costs a little.
        self._meter.push(block)
        for whole in self._reblocker.push(block):
            self._add_block(whole)

    def _add_block(self, block: Float32) -> None:
        if self._copy is not None:
            self._copy.write(np.ascontiguousarray(block, np.float32).data)
            if len(block) == BLOCK_FRAMES:
                self._bands.push(block)

    def read_again(self) -> Iterator[int]:
        """Read the piece a second time; yields the number of frames read so far."""
        rest = self._reblocker.drain()
        self._add_block(rest)
        silence = np.zeros((BLOCK_FRAMES, self._channels), np.float32)
        if self._copy is None:
            return
        if self._frames < BLOCK_FRAMES:
            self._bands.push(np.concatenate((rest, silence[len(rest) :])))
        self._copy.seek(0)
        tone = ToneShaper(
            self._settings,
            self._band_gains(),
            self._section_gains(),
            self._meter.result().integrated_lufs,
            self._rate,
            self._channels,
        )
        levels = StepLevels(self._rate, self._channels, QUICK, with_power=True)
        block_bytes = silence.nbytes
        while content := self._copy.read(block_bytes):
            frames = len(content) // silence[0].nbytes
            content += bytes(block_bytes - len(content))
            shaped = tone.push(np.frombuffer(content, np.float32).reshape(silence.shape))
            self._add_levels(levels.push(cut_ringing(shaped, frames)))
            yield self._copy.tell() // (4 * self._channels)
        self._add_levels(levels.push(silence.T))

    def _add_levels(self, levels: tuple[Float32, Float32] | None) -> None:
        if levels is not None and self._steps is not None:
            self._steps.add(*levels)

    def measurement(self) -> MasterMeasurement:
        """Return the result; call it after `read_again`."""
        loudness = self._meter.result()
        gain_db = 0.0
        if self._steps is not None:
            lufs = loudness.integrated_lufs
            gain_db = find_target_gain(self._settings, lufs, self._steps, self._frames, self._rate)
        return MasterMeasurement(self._settings, loudness, gain_db, self._section_gains_db(), self._band_gains())

    def _band_gains(self) -> tuple[float, ...]:
        return balancing_gains(self._bands.levels_db(), self._settings.balance or 0.0)

    def _section_gains_db(self) -> tuple[float, ...]:
        if not self._settings.section_leveling:
            return (0.0,) * len(self._sections)
        hops = self._meter.hop_powers()
        return tuple(leveling_gain(section, hops, self._rate) for section in self._sections)

    def _section_gains(self) -> SectionGains:
        return SectionGains(self._sections, self._section_gains_db(), self._rate)


def cut_ringing(block: Float32, frames: int) -> Float32:
    """Return the last block without the filters' ringing beyond the end: the limiter must see that edge."""
    if frames < block.shape[1]:
        block = block.copy()
        block[:, frames:] = 0.0
    return block
