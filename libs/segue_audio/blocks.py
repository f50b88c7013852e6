"""Cut a stream of blocks of any size into blocks of one size, so that nothing depends on how audio arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_audio.arrays import Float32


class Reblocker:
    """Gives whole blocks of `block_frames`; `drain` gives what is left."""

    def __init__(self, block_frames: int, channels: int) -> None:
        self.block_frames = block_frames
        self._waiting = np.empty((block_frames, channels), dtype=np.float32)
        self._filled = 0

    @property
    def num_waiting(self) -> int:
        """Frames kept back until a block is full."""
        return self._filled

    def push(self, block: Float32) -> Iterator[Float32]:
        """Take frames in; every block yielded is the caller's own until the next one is asked for."""
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
        """Give up the frames that did not fill a block."""
        rest = self._waiting[: self._filled].copy()
        self._filled = 0
        return rest
