"""The beat network in torch, for training; `segue_analyzer.rhythm.network` runs the same weights with numpy."""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

BANDS: Final = 66
CHANNELS: Final = 32
DILATIONS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TEMPOS: Final = 22
"""Classes of tempo, from 40 beats a minute in eighths of an octave."""
SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "first.weight": (12, 2, 3, 5),
    "first.bias": (12,),
    "second.weight": (16, 12, 3, 5),
    "second.bias": (16,),
    "join.weight": (CHANNELS, 16 * 14),
    "join.bias": (CHANNELS,),
    **{
        f"block{number}.{name}": shape
        for number in range(len(DILATIONS))
        for name, shape in (
            ("wide.weight", (CHANNELS, CHANNELS, 5)),
            ("wide.bias", (CHANNELS,)),
            ("mix.weight", (CHANNELS, CHANNELS)),
            ("mix.bias", (CHANNELS,)),
        )
    },
    "out.weight": (2, CHANNELS),
    "out.bias": (2,),
    "tempo.weight": (TEMPOS, CHANNELS),
    "tempo.bias": (TEMPOS,),
}


def new_weights(seed: int) -> dict[str, torch.Tensor]:
    """Return random weights; the outputs begin at the usual share of beats."""
    torch.manual_seed(seed)
    found = {}
    for name, shape in SHAPES.items():
        bound = 1.0 / math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else 0.0
        found[name] = torch.empty(shape).uniform_(-bound * 1.4, bound * 1.4) if bound else torch.zeros(shape)
    found["out.bias"] += torch.tensor([-2.0, -3.0])
    return {name: weight.requires_grad_() for name, weight in found.items()}


def logits(
    weights: Mapping[str, torch.Tensor], bands: torch.Tensor, dropout: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits of beat and downbeat, (batch, 2, hops), and of tempos, of levelled bands (batch, hops, bands)."""
    # The front takes half of the time in full floats, and a quarter in these.
    with torch.autocast("cpu", torch.bfloat16, enabled=dropout > 0):
        found = _front(weights, bands)
    found = found.float()
    for number, dilation in enumerate(DILATIONS):
        wide = functional.conv1d(
            found,
            weights[f"block{number}.wide.weight"],
            weights[f"block{number}.wide.bias"],
            padding=2 * dilation,
            dilation=dilation,
        )
        wide = functional.elu(wide)
        if dropout:
            wide = functional.dropout(wide, dropout)
        found = found + _mixed(weights, f"block{number}.mix", wide)
    found = functional.elu(found)
    return _mixed(weights, "out", found), _mixed(weights, "tempo", found)


def _front(weights: Mapping[str, torch.Tensor], bands: torch.Tensor) -> torch.Tensor:
    rise = functional.relu(bands - functional.pad(bands, (0, 0, 2, 0))[:, :-2]) * 2
    found = torch.stack([bands, rise], dim=1).to(memory_format=torch.channels_last)
    for name in ("first", "second"):
        found = functional.conv2d(
            found, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=(1, 2), padding=(1, 0)
        )
        found = functional.relu(found)
    return _mixed(weights, "join", found.permute(0, 1, 3, 2).flatten(1, 2))


def _mixed(weights: Mapping[str, torch.Tensor], name: str, values: torch.Tensor) -> torch.Tensor:
    return functional.conv1d(values, weights[f"{name}.weight"][:, :, None], weights[f"{name}.bias"])
