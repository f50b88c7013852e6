"""What each bar sounds like: its spectrum, its attacks, its tones and its level, relative to the whole recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.rhythm.bands import BANDS, HOPS_PER_SECOND
from segue_analyzer.structure.grid import means_between
from segue_analyzer.tonality.chroma import FRAMES_PER_SECOND

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segue_analyzer.structure.grid import MusicGrid
    from segue_analyzer.tonality.chroma import Harmony
    from segue_audio.arrays import Float32, Float64

_GROUPS: Final = BANDS // 3
_RANGE: Final = 7.5
"""Nats below the loudest that count, which are 65 dB."""
SILENT: Final = -15.0
"""The loudest band of silence, in nats: -130 dBFS."""
_BASS_WEIGHT: Final = 0.5
_RISE_HOPS: Final = 2


@dataclass(frozen=True, slots=True)
class BarFeatures:
    """One row for each bar, in four views; the spread of each view over the recording is about 1."""

    spectrum: Float64
    attacks: Float64
    tones: Float64
    level: Float64

    @property
    def views(self) -> tuple[Float64, ...]:
        """All four."""
        return self.spectrum, self.attacks, self.tones, self.level


def bar_features(rows: NDArray[np.float16], harmony: Harmony, grid: MusicGrid) -> BarFeatures:
    """Measure each bar; one bar of bands is in memory at a time."""
    count = len(grid.bars) - 1
    hops = np.clip(np.rint(grid.bars * HOPS_PER_SECOND).astype(np.intp), 0, max(0, len(rows) - 1))
    loudest = rows.max(axis=1).astype(np.float32)
    floor = max(float(np.quantile(loudest, 0.95)) - _RANGE, SILENT)
    spectrum, attacks, level = np.zeros((count, _GROUPS)), np.zeros((count, _GROUPS)), np.zeros((count, 1))
    for bar in range(count):
        first, end = int(hops[bar]), max(int(hops[bar]) + 1, int(hops[bar + 1]))
        bands = np.maximum(rows[max(0, first - _RISE_HOPS) : end].astype(np.float32), np.float32(floor))
        here = bands[min(first, _RISE_HOPS) :]
        groups: Float32 = bands.reshape(len(bands), _GROUPS, 3).mean(axis=2)
        spectrum[bar] = groups[min(first, _RISE_HOPS) :].mean(axis=0)
        attacks[bar] = np.maximum(0.0, groups[_RISE_HOPS:] - groups[:-_RISE_HOPS]).sum(axis=0) / max(1, end - first)
        level[bar] = (0.5 * np.log((np.exp(here) ** 2).sum(axis=1))).mean()
    tones = np.zeros((count, 12))
    if len(harmony.treble):
        tones = means_between(harmony.treble + _BASS_WEIGHT * harmony.bass, grid.bars, FRAMES_PER_SECOND)
    tones = np.sqrt(np.maximum(tones, 0.0))
    tones /= np.maximum(np.sqrt((tones**2).sum(axis=1, keepdims=True)), 1e-9)
    return BarFeatures(_spread(spectrum, 1e-6), _spread(attacks, 1e-6), tones, _spread(level, 0.3))


def _spread(values: Float64, least: float) -> Float64:
    """Return values around 0 whose rows have a mean square of 1."""
    centred = values - values.mean(axis=0)
    spread: Float64 = centred / (max(float(centred.std()), least) * np.sqrt(values.shape[1]))
    return spread
