"""Static keys and values for every slot, allocated once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from segue_renderer.musicgen.config import DecoderConfig

ROWS_PER_SLOT = 2
"""Each slot has two neighbouring rows: the prompted one and the free one, for guidance."""


class Caches:
    """Keys and values by layer: those of the codes for all rows, those of the text for the prompted rows only.

    Those of a negative prompt are for the free rows of the slots that have one.

    Keys and values share one tensor, keys first, so that a step writes both at once.
    """

    def __init__(
        self,
        config: DecoderConfig,
        *,
        slots: int,
        positions: int,
        text_positions: int,
        dtype: torch.dtype,
        text_dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.slots = slots
        self.dtype = dtype
        self.positions = positions
        self.text_positions = text_positions
        row = (2, config.num_heads, positions, config.head_size)
        text_row = (2, config.num_heads, 0 if config.prefix else text_positions, config.head_size)
        # One tensor for each layer: slices of one big tensor were four times slower.
        layers = range(config.num_layers)
        self.codes = [torch.zeros(slots * ROWS_PER_SLOT, *row, dtype=dtype, device=device) for _ in layers]
        self.text = [torch.zeros(slots, *text_row, dtype=text_dtype, device=device) for _ in layers]
        self.negative = [torch.zeros(slots, *text_row, dtype=text_dtype, device=device) for _ in layers]

    @property
    def bytes_per_slot(self) -> int:
        """The bytes of one slot."""
        return int(sum(tensor.nbytes for tensor in (*self.codes, *self.text, *self.negative))) // self.slots

    def move(self, source: int, target: int, used: int) -> None:
        """Copy a slot's first `used` positions, and its text, to another slot."""
        from_row, to_row = source * ROWS_PER_SLOT, target * ROWS_PER_SLOT
        for codes in self.codes:
            codes[to_row : to_row + ROWS_PER_SLOT, ..., :used, :] = codes[
                from_row : from_row + ROWS_PER_SLOT, ..., :used, :
            ]
        for text in (*self.text, *self.negative):
            text[target] = text[source]

    def clear(self, slot: int) -> None:
        """Set a slot to zero."""
        row = slot * ROWS_PER_SLOT
        for codes in self.codes:
            codes[row : row + ROWS_PER_SLOT] = 0
        for text in (*self.text, *self.negative):
            text[slot] = 0


def bytes_per_slot(
    config: DecoderConfig, positions: int, text_positions: int, dtype: torch.dtype, text_dtype: torch.dtype
) -> int:
    """Return the bytes of one slot, before anything is allocated."""
    # The text of the prompted row, and the negative prompt of the free one.
    text = 0 if config.prefix else 2 * text_positions
    each = ROWS_PER_SLOT * positions * int(dtype.itemsize) + text * int(text_dtype.itemsize)
    return 2 * config.num_layers * config.hidden_size * each
