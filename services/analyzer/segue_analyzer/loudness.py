"""Loudness and peaks of the whole and of each section in one pass; true peaks are interpolated once for all."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_audio.loudness import Loudness, LoudnessMeter
from segue_audio.truepeak import TAPS, interpolated_peaks, oversampling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_analyzer.plan_timeline import SectionSpan
    from segue_audio.arrays import Float32

BASS_BELOW_HZ: Final = 150.0
_CELL: Final = 64
"""Frames per true peak; a section has the cells whose middles it contains."""
_BLOCK: Final = 32_768
_SILENT: Final = 1e-12


class SectionLoudness:
    """Measures the loudness of one section by itself."""

    def __init__(self, span: SectionSpan, sample_rate: int, channels: int) -> None:
        self.span = span
        self._rate = sample_rate
        self._channels = channels
        self._meter: LoudnessMeter | None = None
        self._result = Loudness()

    def push(self, block: Float32, first_frame: int) -> None:
        """Add the frames of a block that belong to the section."""
        first = max(self.span.first_frame, first_frame)
        end = min(self.span.end_frame, first_frame + len(block))
        if first < end:
            self._meter = self._meter or LoudnessMeter(self._rate, self._channels, with_peaks=False)
            self._meter.push(block[first - first_frame : end - first_frame])
            if end == self.span.end_frame:
                self.close()

    def close(self) -> Loudness:
        """Return the result and free the meter."""
        if self._meter is not None:
            self._result, self._meter = self._meter.result(), None
        return self._result


class SectionPeaks:
    """Measures the highest true peak and sample of each section, with its neighbours around it."""

    def __init__(self, sample_rate: int, channels: int, spans: Sequence[SectionSpan]) -> None:
        self._factor = oversampling(sample_rate)
        self._spans = spans
        self._highest = np.zeros((len(spans), 2))
        # The audio begins after silence.
        self._buffer = np.zeros((channels, TAPS + _BLOCK), dtype=np.float32)
        self._filled = TAPS // 2
        self._first_frame = 0

    def push(self, planar: Float32) -> None:
        """Add samples, (channels, frames)."""
        position = 0
        while position < planar.shape[1]:
            take = min(self._buffer.shape[1] - self._filled, planar.shape[1] - position)
            self._buffer[:, self._filled : self._filled + take] = planar[:, position : position + take]
            self._filled += take
            position += take
            if self._filled == self._buffer.shape[1]:
                self._measure()

    def finish(self) -> list[tuple[float, float]]:
        """End the stream; returns (true peak, sample peak) of each section as absolute values."""
        # Two blocks with silence at the end: the second one measures the rest of the first.
        for _ in range(2):
            self._buffer[:, self._filled :] = 0.0
            self._measure()
        return [(max(true, sample), sample) for true, sample in self._highest.tolist()]

    def _measure(self) -> None:
        """Measure the block between half the taps of past and of future, and move on."""
        block = self._buffer[:, TAPS // 2 : TAPS // 2 + _BLOCK]
        searched: list[tuple[int, int, int]] = []
        for index, span in enumerate(self._spans):
            first = max(0, span.first_frame - self._first_frame)
            end = min(_BLOCK, span.end_frame - self._first_frame)
            if first >= end:
                continue
            part = block[:, first:end]
            self._highest[index][1] = max(self._highest[index][1], float(part.max()), -float(part.min()))
            searched.append((index, first, end))
        if searched:
            least = float(min(self._highest[index][0] for index, _, _ in searched))
            true_peaks = interpolated_peaks(self._buffer, self._factor, _CELL, least=least)
            for index, first, end in searched:
                cells = true_peaks[(first + _CELL // 2) // _CELL : (end + _CELL // 2) // _CELL]
                self._highest[index][0] = max(self._highest[index][0], float(cells.max(initial=0.0)))
        self._first_frame += _BLOCK
        self._buffer[:, :TAPS] = self._buffer[:, -TAPS:]
        self._filled = TAPS


def with_peaks(loudness: Loudness, peaks: tuple[float, float]) -> Loudness:
    """Return the loudness with these peaks."""
    true_peak, sample_peak = (20 * math.log10(peak) if peak > _SILENT else None for peak in peaks)
    return dataclasses.replace(loudness, true_peak_dbtp=true_peak, sample_peak_dbfs=sample_peak)
