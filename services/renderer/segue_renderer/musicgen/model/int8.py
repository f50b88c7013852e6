"""Products with int8 weights on the CPU; the states are quantised on the fly, each row by itself."""

from __future__ import annotations

import warnings
from typing import Final

import torch

LARGEST: Final = 127.0
MIDDLE: Final = 128
"""Where zero lies in the kernel's unsigned states."""
TINY: Final = 1e-20
"""Keeps a row of zeros from being divided by zero."""


class Int8Linear:
    """A weight in int8 with a scale for every output.

    Every row of states is scaled to -1 … 1 first and quantised by one scale that never changes, so a row's result
    depends on that row only. A kernel that finds one scale for all rows would let a loud neighbour change it.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        scales = weight.abs().amax(1).clamp(min=1e-12) / LARGEST
        with warnings.catch_warnings():
            # The kernels stay; torch moves their Python entry to another package.
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
            # Processors other than x86 have the kernel that looks for the scale only.
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
        """One more row holds both ends of the range: the scale that the kernel finds is always the same."""
        together = torch.cat([rows, self._ends])
        product: torch.Tensor = torch.ops.quantized.linear_dynamic(together, self._packed, False)  # noqa: FBT003
        return product[:-1]
