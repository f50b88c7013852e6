"""What the decoder remembers: static keys and values for every slot, allocated once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from segue_renderer.musicgen.config import DecoderConfig

ROWS_A_SLOT = 2
"""Each slot has two neighbouring rows: the prompted one and the free one, for guidance."""


class Caches:
    """Keys and values by layer: of the codes for all rows, of the text for the prompted rows only."""

    def __init__(
        self,
        config: DecoderConfig,
        *,
        slots: int,
        positions: int,
        text_positions: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.slots = slots
        self.dtype = dtype
        self.positions = positions
        self.text_positions = text_positions
        row = (config.num_heads, positions, config.head_size)
        text_row = (config.num_heads, 0 if config.prefix else text_positions, config.head_size)
        # One tensor a layer: slices of one big tensor were measured four times slower.
        self.keys = [
            torch.zeros(slots * ROWS_A_SLOT, *row, dtype=dtype, device=device) for _ in range(config.num_layers)
        ]
        self.values = [torch.zeros_like(keys) for keys in self.keys]
        self.text_keys = [torch.zeros(slots, *text_row, dtype=dtype, device=device) for _ in range(config.num_layers)]
        self.text_values = [torch.zeros_like(keys) for keys in self.text_keys]

    @property
    def bytes_a_slot(self) -> int:
        """Return what one slot takes."""
        tensors = [*self.keys, *self.values, *self.text_keys, *self.text_values]
        return int(sum(tensor.nbytes for tensor in tensors)) // self.slots

    def move(self, source: int, target: int, used: int) -> None:
        """Copy a slot's first `used` positions, and its text, to another slot."""
        from_row, to_row = source * ROWS_A_SLOT, target * ROWS_A_SLOT
        for tensors in (self.keys, self.values):
            for tensor in tensors:
                tensor[to_row : to_row + ROWS_A_SLOT, :, :used] = tensor[from_row : from_row + ROWS_A_SLOT, :, :used]
        for tensors in (self.text_keys, self.text_values):
            for tensor in tensors:
                tensor[target] = tensor[source]

    def clear(self, slot: int) -> None:
        """Put zeros into a slot."""
        row = slot * ROWS_A_SLOT
        for tensor in (*self.keys, *self.values):
            tensor[row : row + ROWS_A_SLOT] = 0
        for tensor in (*self.text_keys, *self.text_values):
            tensor[slot] = 0


def bytes_a_slot(config: DecoderConfig, positions: int, text_positions: int, dtype: torch.dtype) -> int:
    """Return what a slot will take, before anything is allocated."""
    text = 0 if config.prefix else text_positions
    return 2 * config.num_layers * config.hidden_size * int(dtype.itemsize) * (ROWS_A_SLOT * positions + text)
