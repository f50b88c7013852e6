"""Waveform peaks at several zooms, from one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.report import WaveformPeaks
from segue_audio.peaks import PeakCollector

if TYPE_CHECKING:
    from segue_audio.arrays import Float32

_POINTS_PER_SECOND: Final = 100
_FINEST_POINTS: Final = 32_768
_MIDDLE_POINTS: Final = 8_192
_COARSE_POINTS: Final = (1_024, 128)


class WaveformMeter:
    """Collects the peaks of the finest zoom; the others are made of them."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._collector = PeakCollector(max(1, round(sample_rate / _POINTS_PER_SECOND)), max_points=_FINEST_POINTS)

    def push(self, block: Float32) -> None:
        """Add frames."""
        self._collector.push(block)

    def peaks(self) -> WaveformPeaks:
        """Return the usual zoom: 100 pairs for each second, or fewer so that there are 8192 at most."""
        return self._zoomed(_MIDDLE_POINTS)

    def more_peaks(self) -> tuple[WaveformPeaks, ...]:
        """Return a finer zoom and two coarser ones."""
        return tuple(self._zoomed(points) for points in (_FINEST_POINTS, *_COARSE_POINTS))

    def _zoomed(self, most_points: int) -> WaveformPeaks:
        points = self._collector.points()
        frames_per_point = self._collector.frames_per_point
        while len(points) > most_points:
            points = _halved(points)
            frames_per_point *= 2
        peaks = np.clip(np.rint(points * 127), -127, 127).astype(np.int8).tobytes()
        return WaveformPeaks(self._rate / frames_per_point, peaks)


def _halved(points: Float32) -> Float32:
    even = np.concatenate([points, points[-1:]]) if len(points) % 2 else points
    pairs = even.reshape(-1, 2, 2)
    return np.stack([pairs[:, :, 0].min(axis=1), pairs[:, :, 1].max(axis=1)], axis=1)
