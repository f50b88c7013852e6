"""Matrix products in the engine's precisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

PRECISIONS: Final = ("fp32", "bf16", "fp16", "int8")


class Linear(Protocol):
    """A product with a constant weight."""

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """Multiply the last dimension."""
        ...


class FloatLinear:
    """A weight in the type of the states."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self.weight = weight
        self.bias = bias

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        return functional.linear(states, self.weight, self.bias)


def dtype_of(precision: str) -> torch.dtype:
    """Return the type of states and caches."""
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.float32}[precision]


def maker_of(precision: str, device: torch.device) -> Callable[[torch.Tensor], Linear]:
    """Return a function that makes a product of an fp32 weight."""
    if precision == "int8":
        from segue_renderer.musicgen.model.int8 import Int8Linear

        return Int8Linear
    dtype = dtype_of(precision)
    return lambda weight: FloatLinear(weight.to(device, dtype).contiguous())
