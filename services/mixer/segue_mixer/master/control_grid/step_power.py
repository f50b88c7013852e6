"""K-weighted power of every step of a block, as matrix products: several times as fast as sample by sample.

A recursive filter is a linear map of a row's samples and of the filter's memory, four numbers. The memory that each row
passes on is computed for all rows at once. Only the previous block affects a block: a third of a second later the
memory has decayed below the last bit, and a frozen master must not depend on a distant edit.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from segue_audio.biquads import sosfilt
from segue_audio.loudness import channel_weights, k_weighting

if TYPE_CHECKING:
    from segue_audio.arrays import Float32, Float64

ROW: Final = 64
GROUP: Final = 16
"""Rows per group; memory is passed over 16 rows, then over groups."""
MEMORY: Final = 4


class _Maps(NamedTuple):
    """Linear maps of samples and memory, all applied from the right."""

    filtered: Float32
    """A row's samples, followed by its memory, to its filtered samples."""
    passed_on: Float64
    """A row's samples to the memory they add. In double precision: the high-pass accumulates errors for a while."""
    within: Float64
    """Memory that the rows of a group add, to the memory of each row of the group."""
    from_group: Float64
    """Memory at a group's start to the memory of each row of the group."""
    group_passed_on: Float64
    """Memory that the rows of a group add, to the memory that the group adds."""
    over_groups: Float64
    """Memory that groups add, to the memory of each group."""
    from_block: Float64
    """Memory at a block's start to the memory of each group."""
    block_passed_on: Float64
    """Memory that groups add, to the memory that the block adds."""


class StepPower:
    """Weighted mean square of every step; all blocks, (channels, frames), have one size."""

    def __init__(self, sample_rate: int, channels: int, step_frames: int, block_frames: int) -> None:
        self._maps = _maps(sample_rate, block_frames // ROW // GROUP)
        self._weights = channel_weights(channels)
        self._step = step_frames
        self._memory = np.zeros((channels, MEMORY))

    def push(self, block: Float32) -> Float32:
        """Return the powers of the steps of the next block."""
        maps, channels = self._maps, len(block)
        rows = block.reshape(-1, ROW)
        added = (rows.astype(np.float64) @ maps.passed_on).reshape(-1, GROUP * MEMORY)
        group_added = (added @ maps.group_passed_on).reshape(channels, -1)
        group_memory = group_added @ maps.over_groups + self._memory @ maps.from_block
        self._memory = group_added @ maps.block_passed_on
        memory = added @ maps.within + group_memory.reshape(-1, MEMORY) @ maps.from_group
        both = np.concatenate((rows, memory.reshape(-1, MEMORY)), axis=1, dtype=np.float32, casting="same_kind")
        filtered = (both @ maps.filtered).reshape(channels, -1, self._step)
        powers = np.zeros(filtered.shape[1], np.float32)
        for weight, channel in zip(self._weights, filtered, strict=True):
            powers += np.float32(weight / self._step) * np.einsum("sf,sf->s", channel, channel)
        return powers


@lru_cache(maxsize=8)
def _maps(sample_rate: int, num_groups: int) -> _Maps:
    sections = k_weighting(sample_rate)
    # The response to each single sample of a row and to each single number of the memory.
    inputs = np.concatenate((np.eye(ROW), np.zeros((MEMORY, ROW))))
    memories = np.concatenate((np.zeros((ROW, MEMORY)), np.eye(MEMORY)))
    filtered, after = sosfilt(sections, inputs, memories.reshape(-1, 2, 2).transpose(1, 0, 2))
    after = after.transpose(1, 0, 2).reshape(-1, MEMORY)
    over_row = after[ROW:]
    over_group = np.linalg.matrix_power(over_row, GROUP)
    within, from_group, group_passed_on = _chain(over_row, GROUP)
    over_groups, from_block, block_passed_on = _chain(over_group, num_groups)
    return _Maps(
        filtered.astype(np.float32),
        np.ascontiguousarray(after[:ROW]),
        within,
        from_group,
        group_passed_on,
        over_groups,
        from_block,
        block_passed_on,
    )


def _chain(over_one: Float64, count: int) -> tuple[Float64, Float64, Float64]:
    """Return the maps over a chain of links: from added memory to each link's, from the start, and to the end."""
    powers = [np.linalg.matrix_power(over_one, number) for number in range(count + 1)]
    none = np.zeros((MEMORY, MEMORY))
    inside = np.block(
        [[powers[later - link - 1] if later > link else none for later in range(count)] for link in range(count)]
    )
    start = np.concatenate(powers[:count], axis=1)
    end = np.concatenate([powers[count - 1 - link] for link in range(count)])
    return inside, start, end
