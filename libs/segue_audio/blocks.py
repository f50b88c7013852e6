"""Conversion of blocks of any size to blocks of one size, so that results do not depend on the input's blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_audio.arrays import Float32


class Reblocker:
    """Returns whole blocks of `block_frames`; `drain` returns the rest."""

    def __init__(self, block_frames: int, channels: int) -> None:
        self.block_frames = block_frames
        self._waiting = np.empty((block_frames, channels), dtype=np.float32)
        self._filled = 0

    @property
    def num_waiting(self) -> int:
        """Number of frames that wait for a full block."""
        return self._filled

    def push(self, block: Float32) -> Iterator[Float32]:
        """Add frames; each yielded block is valid until the next one is requested."""
        position = 0
        size = self.block_frames
        while position < len(block):
            if self._filled == 0 and len(block) - position >= size:
                yield block[position : position + size]
                position += size
                continue
            take = min(size - self._filled, len(block) - position)
            self._waiting[self._filled : self._filled + take] = block[position : position + take]
            self._filled += take
            position += take
            if self._filled == size:
                self._filled = 0
                yield self._waiting.copy()

    def drain(self) -> Float32:
        """Return the frames that do not fill a block."""
        rest = self._waiting[: self._filled].copy()
        self._filled = 0
        return rest
