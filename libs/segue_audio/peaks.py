"""Waveform peaks for pictures: the lowest and highest sample of each span of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from segue_audio.arrays import Float32


class PeakCollector:
    """Collects one (lowest, highest) pair per span, over all channels.

    Whenever the table has `max_points` the spans double in length, so memory does not grow.
    """

    def __init__(self, frames_per_point: int = 256, *, max_points: int = 16_384) -> None:
        self.frames_per_point = frames_per_point
        self._table = np.zeros((max_points + max_points % 2, 2), dtype=np.float32)
        self._points: int = 0
        self._filled = 0
        self._low = np.float32(np.inf)
        self._high = np.float32(-np.inf)

    def push(self, block: Float32) -> None:
        """Add frames."""
        position = 0
        while position < len(block):
            whole = (len(block) - position) // self.frames_per_point
            space = len(self._table) - self._points
            if self._filled == 0 and whole and space:
                count = min(whole, space)
                piece = block[position : position + count * self.frames_per_point].reshape(count, -1)
                self._table[self._points : self._points + count, 0] = piece.min(axis=1)
                self._table[self._points : self._points + count, 1] = piece.max(axis=1)
                self._points += count
                position += count * self.frames_per_point
            else:
                position += self._push_part(block[position : position + self.frames_per_point - self._filled])
            if self._points == len(self._table):
                self._halve()

    def points(self) -> Float32:
        """Return the pairs so far, including the unfinished span, as (points, 2)."""
        done = self._table[: self._points]
        if self._filled == 0:
            return done.copy()
        return np.concatenate([done, np.array([[self._low, self._high]], dtype=np.float32)])

    def _push_part(self, part: Float32) -> int:
        self._low = min(self._low, part.min())
        self._high = max(self._high, part.max())
        self._filled += len(part)
        if self._filled == self.frames_per_point:
            self._table[self._points] = (self._low, self._high)
            self._points += 1
            self._reset_part()
        return len(part)

    def _reset_part(self) -> None:
        self._filled = 0
        self._low = np.float32(np.inf)
        self._high = np.float32(-np.inf)

    def _halve(self) -> None:
        pairs = self._table.reshape(-1, 2, 2)
        self._points = len(pairs)
        self._table[: self._points] = np.stack([pairs[:, :, 0].min(axis=1), pairs[:, :, 1].max(axis=1)], axis=1)
        self.frames_per_point *= 2
