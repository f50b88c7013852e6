"""Trains the key: `segue_analyzer.tonality.key_network` runs it."""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from segue_analyzer.tonality.chroma import FRAMES_PER_SECOND
from segue_analyzer.tonality.key import sounding
from segue_analyzer.tonality.key_network import ROWS, key_rows
from training.decisions.fit import fit, new_weights, write

if TYPE_CHECKING:
    from training.decisions.heard import Heard

TARGET = Path("services/analyzer/segue_analyzer/tonality/key_network.npz")
HIDDEN = 24
STEPS = 900
BATCH = 64
SPANS = 6
"""Random parts of each excerpt: a key must be heard in a few bars too."""
LEAST_S = 6.0
DROPOUT = 0.3
SMOOTHING = 0.05
SHAPES = {
    "enter.weight": (HIDDEN, ROWS * 12),
    "enter.bias": (HIDDEN,),
    "out.weight": (2, HIDDEN),
    "out.bias": (2,),
}


def train(material: list[Heard]) -> list[dict[str, Any]]:
    """Fit the network to excerpts with a key, whole and in parts."""
    rng = np.random.default_rng(1)
    rows, right = [], []
    for each in material:
        if each.key is None:
            continue
        heard = sounding(each.harmony)
        treble, bass = each.harmony.treble[heard], each.harmony.bass[heard]
        least = int(LEAST_S * FRAMES_PER_SECOND)
        spans = [(0, len(treble))] * 3
        for _ in range(SPANS if len(treble) > least else 0):
            length = int(rng.integers(least, len(treble) + 1))
            first = int(rng.integers(0, len(treble) - length + 1))
            spans.append((first, first + length))
        for first, end in spans:
            if end - first >= 2:
                rows.append(key_rows(treble[first:end], bass[first:end]))
                right.append(each.key[0] + 12 * each.key[1])
    known, keys = torch.from_numpy(np.stack(rows)).float(), torch.tensor(right)
    weights = new_weights(SHAPES, 1)

    def loss_of(random: torch.Generator) -> torch.Tensor:
        drawn = torch.randint(len(known), (BATCH,), generator=random)
        return functional.cross_entropy(network(weights, known[drawn], random), keys[drawn], label_smoothing=SMOOTHING)

    log = fit(weights, loss_of, STEPS, decay=0.1)
    write(TARGET, weights, log, len(material))
    return log[-1:]


def network(
    weights: dict[str, torch.Tensor], rows: torch.Tensor, random: torch.Generator | None = None
) -> torch.Tensor:
    """Return a score of each key, (batch, 24)."""
    moved = torch.stack([rows.roll(-tonic, dims=2).flatten(1) for tonic in range(12)], dim=1)
    hidden = torch.relu(moved @ weights["enter.weight"].T + weights["enter.bias"])
    if random is not None:
        # All transpositions lose the same units, so that they stay alike.
        kept = torch.rand((len(rows), 1, HIDDEN), generator=random) > DROPOUT
        hidden = hidden * kept / (1 - DROPOUT)
    return (hidden @ weights["out.weight"].T + weights["out.bias"]).transpose(1, 2).flatten(1)
