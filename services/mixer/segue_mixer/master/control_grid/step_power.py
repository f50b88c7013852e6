"""K-weighted power of every step of a block, as matrix products: several times as fast as one sample after the other.

A recursive filter is a linear map of the samples of a row and of four numbers that it remembers. What a row leaves to
the next is found for all rows at once. Into a block only the block before it reaches: a third of a second later the
filter's memory is under any last bit, and a frozen master must forget what an edit did.
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
"""Rows, then groups of rows: what is remembered goes over 16 of each."""
MEMORY: Final = 4


class _Maps(NamedTuple):
    """From samples and memory to sound and memory, all applied from the right."""

    sound: Float32
    """A row's samples, and its memory behind them, to its filtered samples."""
    left: Float64
    """A row's samples to what they leave. Twice as exact as sound: the high-pass adds up every error for a while."""
    within: Float64
    """What the rows of a group leave to what each row of it remembers."""
    from_group: Float64
    """What is remembered at a group's start to what each row of it remembers."""
    group_left: Float64
    """What the rows of a group leave to what the group leaves."""
    over_groups: Float64
    """What groups leave to what each group remembers."""
    from_block: Float64
    """What is remembered at a block's start to what each group remembers."""
    block_left: Float64
    """What groups leave to what the block leaves."""


class StepPower:
    """`push` blocks of one size, (channels, frames); each gives the weighted mean square of its steps."""

    def __init__(self, sample_rate: int, channels: int, step_frames: int, block_frames: int) -> None:
        self._maps = _maps(sample_rate, block_frames // ROW // GROUP)
        self._weights = channel_weights(channels)
        self._step = step_frames
        self._memory = np.zeros((channels, MEMORY))

    def push(self, block: Float32) -> Float32:
        """Take the next block."""
        maps, channels = self._maps, len(block)
        rows = block.reshape(-1, ROW)
        left = (rows.astype(np.float64) @ maps.left).reshape(-1, GROUP * MEMORY)
        group_left = (left @ maps.group_left).reshape(channels, -1)
        remembered = group_left @ maps.over_groups + self._memory @ maps.from_block
        self._memory = group_left @ maps.block_left
        memory = left @ maps.within + remembered.reshape(-1, MEMORY) @ maps.from_group
        both = np.concatenate((rows, memory.reshape(-1, MEMORY)), axis=1, dtype=np.float32, casting="same_kind")
        filtered = (both @ maps.sound).reshape(channels, -1, self._step)
        powers = np.zeros(filtered.shape[1], np.float32)
        for weight, channel in zip(self._weights, filtered, strict=True):
            powers += np.float32(weight / self._step) * np.einsum("sf,sf->s", channel, channel)
        return powers


@lru_cache(maxsize=8)
def _maps(sample_rate: int, num_groups: int) -> _Maps:
    sections = k_weighting(sample_rate)
    # Every sample of a row and every number remembered is tried by itself.
    inputs = np.concatenate((np.eye(ROW), np.zeros((MEMORY, ROW))))
    memories = np.concatenate((np.zeros((ROW, MEMORY)), np.eye(MEMORY)))
    sound, after = sosfilt(sections, inputs, memories.reshape(-1, 2, 2).transpose(1, 0, 2))
    after = after.transpose(1, 0, 2).reshape(-1, MEMORY)
    over_row = after[ROW:]
    over_group = np.linalg.matrix_power(over_row, GROUP)
    within, from_group, group_left = _chain(over_row, GROUP)
    over_groups, from_block, block_left = _chain(over_group, num_groups)
    return _Maps(
        sound.astype(np.float32),
        np.ascontiguousarray(after[:ROW]),
        within,
        from_group,
        group_left,
        over_groups,
        from_block,
        block_left,
    )


def _chain(over_one: Float64, count: int) -> tuple[Float64, Float64, Float64]:
    """Maps over a chain of links: from what each leaves to what each remembers, from the start, and to the end."""
    powers = [np.linalg.matrix_power(over_one, number) for number in range(count + 1)]
    none = np.zeros((MEMORY, MEMORY))
    inside = np.block(
        [[powers[later - link - 1] if later > link else none for later in range(count)] for link in range(count)]
    )
    start = np.concatenate(powers[:count], axis=1)
    end = np.concatenate([powers[count - 1 - link] for link in range(count)])
    return inside, start, end
