"""Detectors of clipping, DC and silence, and the collector of runs of frames."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.report import Fault, FaultKind

if TYPE_CHECKING:
    from segue_audio.arrays import Bools, Float32

MAX_FAULTS: Final = 100
SILENT_BELOW: Final = 1e-3
"""-60 dBFS."""
_SILENCE_S: Final = 1.0
_FULL_SCALE: Final = 0.99
_CLIPPED_RUN: Final = 3
_MERGE_S: Final = 0.05
"""Clipped runs closer than this are one fault."""
_DC_LEVEL: Final = 1e-3
_DC_BLOCK_S: Final = 0.25
_DC_LEAST_BLOCKS: Final = 4


class RunCollector:
    """Collects runs of frames and merges neighbours; keeps the first hundred."""

    def __init__(self, kind: FaultKind, merge_frames: int) -> None:
        self._kind = kind
        self._merge_frames = merge_frames
        self._runs: list[list[int]] = []

    def add(self, first: int, end: int) -> None:
        """Add a run; runs must be in order."""
        if self._runs and first - self._runs[-1][1] <= self._merge_frames:
            self._runs[-1][1] = max(end, self._runs[-1][1])
        elif len(self._runs) < MAX_FAULTS:
            self._runs.append([first, end])

    def add_flags(self, flags: Bools, first_frame: int) -> None:
        """Add every run of True."""
        if not flags.any():
            return
        edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
        for first, end in edges.reshape(-1, 2).tolist():
            self.add(first_frame + first, first_frame + end)

    def faults(self, text: str) -> list[Fault]:
        """Return one fault for each run."""
        return [Fault(self._kind, first, end - first, text) for first, end in self._runs]


class ClippingDetector:
    """Finds clipping: three or more equal samples at or beyond full scale."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._runs = RunCollector(FaultKind.CLIPPING, round(sample_rate * _MERGE_S))
        self._past = np.zeros((channels, _CLIPPED_RUN - 1), dtype=np.float32)
        self._position = 0

    def push(self, planar: Float32, loudest: Float32) -> None:
        """Add samples, (channels, frames), and the loudest of each frame."""
        past = self._past
        self._past = np.concatenate([past, planar[:, 1 - _CLIPPED_RUN :]], axis=1)[:, 1 - _CLIPPED_RUN :]
        if float(loudest.max(initial=0.0)) >= _FULL_SCALE:
            samples = np.clip(np.concatenate([past, planar], axis=1), -1.0, 1.0)
            flat = (samples[:, 1:] == samples[:, :-1]) & (np.abs(samples[:, 1:]) >= _FULL_SCALE)
            self._runs.add_flags((flat[:, 1:] & flat[:, :-1]).any(axis=0), self._position)
        self._position += len(loudest)

    def faults(self) -> list[Fault]:
        """Return the faults; they include the first two samples of each run."""
        found = self._runs.faults("samples stay at full scale: the audio is clipped")
        return [
            Fault(fault.kind, fault.first_frame - (_CLIPPED_RUN - 1), fault.frames + _CLIPPED_RUN - 1, fault.text)
            for fault in found
        ]


class DcDetector:
    """Finds a constant offset: the overall mean, when the means of quarter seconds agree."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._block_frames = round(sample_rate * _DC_BLOCK_S)
        self._open = np.zeros(channels)
        self._filled = 0
        self._sum = np.zeros(channels)
        self._squares = np.zeros(channels)
        self._blocks = 0
        self._frames = 0

    def push(self, planar: Float32) -> None:
        """Add samples, (channels, frames)."""
        frames = planar.shape[1]
        self._frames += frames
        position = 0
        while position < frames:
            take = min(frames - position, self._block_frames - self._filled)
            self._open += planar[:, position : position + take].sum(axis=1)
            self._filled += take
            position += take
            if self._filled == self._block_frames:
                mean = self._open / self._filled
                self._sum += mean
                self._squares += mean * mean
                self._blocks += 1
                self._open[:] = 0.0
                self._filled = 0

    def faults(self) -> list[Fault]:
        """Return the fault, if any; below one second an offset cannot be distinguished from a slow wave."""
        if self._blocks < _DC_LEAST_BLOCKS:
            return []
        mean = self._sum / self._blocks
        spread = np.sqrt(np.maximum(self._squares / self._blocks - mean**2, 0.0))
        certain = np.abs(mean) > 4 * spread / math.sqrt(self._blocks)
        offset = float(np.abs(np.where(certain, mean, 0.0)).max())
        if offset <= _DC_LEVEL:
            return []
        level_dbfs = 20 * math.log10(offset)
        return [Fault(FaultKind.DC, 0, self._frames, f"a constant offset of {level_dbfs:.1f} dBFS")]


class SilenceDetector:
    """Finds silence at both ends and the gaps between, exact to the frame."""

    def __init__(self, sample_rate: int) -> None:
        self._gap_frames = round(sample_rate * _SILENCE_S)
        self._first_loud: int | None = None
        self._last_loud = -1
        self._position = 0
        self._gaps = RunCollector(FaultKind.SILENCE, 0)

    def push(self, loudest: Float32) -> None:
        """Add the loudest sample of each frame."""
        loud = loudest >= SILENT_BELOW
        first = self._position
        self._position += len(loud)
        if not loud.any():
            return
        begins = first + int(loud.argmax())
        if self._first_loud is None:
            self._first_loud = self._last_loud = begins
        ends, known = np.array([begins]), np.array([self._last_loud])
        # A gap that lies within the block holds a silent cell, which most blocks do not have.
        if not np.logical_or.reduceat(loud, np.arange(0, len(loud), self._gap_frames // 2)).all():
            changes = np.flatnonzero(loud[1:] != loud[:-1])
            ends = np.concatenate([ends[: int(loud[0])], first + 1 + changes[loud[changes + 1]]])
            known = np.concatenate([known, first + changes[loud[changes]]])[: len(ends)]
        for place in np.flatnonzero(ends - known > self._gap_frames + 1):
            self._gaps.add(int(known[place]) + 1, int(ends[place]))
        self._last_loud = first + len(loud) - 1 - int(loud[::-1].argmax())

    @property
    def leading_frames(self) -> int:
        """Frames before the first audible sample; all of them in silence."""
        return self._position if self._first_loud is None else self._first_loud

    @property
    def trailing_frames(self) -> int:
        """Frames after the last audible sample; 0 in silence."""
        return 0 if self._first_loud is None else self._position - 1 - self._last_loud

    def faults(self) -> list[Fault]:
        """Return the gaps."""
        return self._gaps.faults("more than a second of silence")
