"""The level of the vocals stem of a recording, while it streams."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.stems.separator import StemStream

if TYPE_CHECKING:
    from segue_analyzer.stems.separator import Separator, SeparatorInfo
    from segue_audio.arrays import Float32

VOCALS: Final = "vocals"


@dataclass(frozen=True, slots=True)
class VocalsMethod:
    """How an analyzer measures vocals."""

    separator: Separator
    within_db: int
    """By how much the vocals stem may be below a recording that has vocals; 0: nothing says whether it has."""


@dataclass(frozen=True, slots=True)
class MeasuredVocals:
    """What was measured of the vocals stem."""

    energy_rms: float
    has_vocals: bool | None
    separator: SeparatorInfo


class VocalsMeter:
    """Measures one recording: `push` its blocks in order, then `finish` once."""

    def __init__(self, method: VocalsMethod, sample_rate: int, channels: int) -> None:
        self._method = method
        self._stream = StemStream(method.separator, sample_rate, channels)
        self._index = self._stream.info.stems.index(VOCALS)
        self._channels = channels
        self._rate = sample_rate
        self._measured = 0
        self._energies: list[list[float]] = []
        """Those of the vocals stem and of the recording in each second."""

    def push(self, block: Float32) -> None:
        """Add frames of shape (frames, channels)."""
        self._add(self._stream.push(block))

    def finish(self) -> MeasuredVocals:
        """End the recording and return what was measured."""
        self._add(self._stream.finish())
        return self.between(0, self._stream.frames)

    def between(self, first_frame: int, end_frame: int) -> MeasuredVocals:
        """Return what was measured of a part, whose edges are rounded to seconds; all of it must have been pushed."""
        first, end = first_frame // self._rate, -(-end_frame // self._rate)
        frames = min(end * self._rate, self._stream.frames) - first * self._rate
        energies = np.sum(self._energies[first:end] or [[0.0, 0.0]], axis=0)
        vocals, whole = np.sqrt(energies / max(1, frames * self._channels)).tolist()
        has_vocals = None
        if self._method.within_db:
            has_vocals = whole > 0 and vocals > 0 and 20 * math.log10(vocals / whole) >= -self._method.within_db
        return MeasuredVocals(energy_rms=vocals, has_vocals=has_vocals, separator=self._stream.info)

    def _add(self, stems: Float32) -> None:
        stems = stems.astype(np.float64)
        frames = np.stack([(stems[self._index] ** 2).sum(axis=1), (stems.sum(axis=0) ** 2).sum(axis=1)])
        while frames.shape[1]:
            if self._measured % self._rate == 0:
                self._energies.append([0.0, 0.0])
            take = min(frames.shape[1], self._rate - self._measured % self._rate)
            for column, energy in enumerate(frames[:, :take].sum(axis=1).tolist()):
                self._energies[-1][column] += energy
            self._measured += take
            frames = frames[:, take:]
