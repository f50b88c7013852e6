"""The delay pattern: the column of each code, for rows of any age."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Codes = NDArray[np.int64]
    """Codes of shape (codebooks, frames)."""

FREE: Final = -1
"""A place to sample."""


@dataclass(frozen=True)
class DelayPattern:
    """Codebook k of frame f is in column 1 + f + delays[k]; column 0 and all other places hold `pad`."""

    delays: tuple[int, ...]
    pad: int

    @property
    def lag(self) -> int:
        """The number of columns from a frame's first code to its last."""
        return max(self.delays)

    def num_columns(self, frames: int) -> int:
        """Return the number of columns that `frames` frames need."""
        return 1 + frames + self.lag

    def layout(self, prompt: Codes, frames: int) -> Codes:
        """Lay out `frames` frames: the codes of `prompt` first, then FREE places."""
        laid = np.full((len(self.delays), self.num_columns(frames)), self.pad, np.int64)
        known = prompt.shape[1]
        for book, delay in enumerate(self.delays):
            laid[book, 1 + delay : 1 + delay + known] = prompt[book]
            laid[book, 1 + delay + known : 1 + delay + frames] = FREE
        return laid

    def known_columns(self, prompt_frames: int) -> int:
        """Count the leading columns without FREE places."""
        return 1 + prompt_frames + min(self.delays)

    def complete_frames(self, columns: int) -> int:
        """Count the complete frames when `columns` columns are filled."""
        return max(0, columns - 1 - self.lag)

    def read(self, laid: Codes, first_frame: int, frames: int) -> Codes:
        """Read frames from their columns."""
        return np.stack(
            [
                row[1 + first_frame + delay : 1 + first_frame + delay + frames]
                for row, delay in zip(laid, self.delays, strict=True)
            ]
        )


def concatenated(parts: Sequence[Codes], num_codebooks: int) -> Codes:
    """Join runs of frames."""
    return np.concatenate([np.zeros((num_codebooks, 0), np.int64), *parts], axis=1)
