"""Matrix products with int8 weights on the CPU; states are quantised on the fly, row by row."""

from __future__ import annotations

import warnings
from typing import Final

import torch

LARGEST: Final = 127.0
MIDDLE: Final = 128
"""The zero point of the kernel's unsigned states."""
TINY: Final = 1e-20
"""Avoids a division by zero for a row of zeros."""


class Int8Linear:
    """A weight in int8 with a scale for each output.

    Each row of states is scaled to -1 … 1 first and then quantised with a fixed scale, so a row's result depends on
    that row only. A kernel that computes one scale for all rows would let a loud neighbour change the result.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        scales = weight.abs().amax(1).clamp(min=1e-12) / LARGEST
        with warnings.catch_warnings():
            # Torch moves the Python entry of these kernels to another package; the kernels stay.
            warnings.simplefilter("ignore")
            quantized = torch.quantize_per_channel(
                weight.contiguous(), scales.double(), torch.zeros(len(scales), dtype=torch.long), 0, torch.qint8
            )
            self._packed = torch.ops.quantized.linear_prepack(quantized, None)
        self._ends = torch.zeros(1, weight.shape[1])
        self._ends[0, 0], self._ends[0, 1] = -1.0, 1.0
        try:
            self._fixed(self._ends)
            self._multiply = self._fixed
        except (RuntimeError, AttributeError):
            # Processors other than x86 only have the kernel that computes the scale.
            self._multiply = self._between_ends

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """Multiply the last dimension."""
        if states.dim() > 2:
            return self(states.flatten(0, -2)).view(*states.shape[:-1], -1)
        # Not vector_norm: it takes three to seven times as long.
        largest = states.abs().amax(1, keepdim=True).clamp_min_(TINY)
        return self._multiply(states / largest).mul_(largest)

    def _fixed(self, rows: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            rows, 1 / LARGEST, MIDDLE, self._packed
        )
        return product

    def _between_ends(self, rows: torch.Tensor) -> torch.Tensor:
        """Add a row with both ends of the range, so that the kernel always computes the same scale."""
        together = torch.cat([rows, self._ends])
        product: torch.Tensor = torch.ops.quantized.linear_dynamic(together, self._packed, False)  # noqa: FBT003
        return product[:-1]
