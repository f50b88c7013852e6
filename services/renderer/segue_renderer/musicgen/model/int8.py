"""Products with int8 weights on the CPU; the states are quantised on the fly, each row by itself."""

from __future__ import annotations

import warnings

import torch

LARGEST = 127.0


class Int8Linear:
    """A weight in int8 with a scale for every output.

    The kernel finds one scale for all rows, so a loud neighbour would change what a row gives. Here every row comes
    scaled to the range -1 … 1, and one more row holds both ends of the range: the kernel's scale is always the same,
    and a row's result depends on that row only.
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

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """Multiply the last dimension."""
        rows = states.reshape(-1, states.shape[-1])
        largest = rows.abs().amax(1, keepdim=True).clamp(min=1e-20)
        together = torch.cat([rows / largest, self._ends])
        product: torch.Tensor = torch.ops.quantized.linear_dynamic(together, self._packed, False)  # noqa: FBT003
        return (product[:-1] * largest).view(*states.shape[:-1], -1)
