"""Trains which of a chain's beats are the beats: `segue_analyzer.rhythm.octaves` runs it."""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from segue_analyzer.rhythm.beats import FASTEST, SLOWEST, find_beats
from segue_analyzer.rhythm.octaves import CANDIDATES, FEATURES, candidates
from segue_analyzer.rhythm.tempo import tempo_of
from training.decisions.fit import fit, new_weights, write

if TYPE_CHECKING:
    from training.decisions.heard import Heard

TARGET = Path("services/analyzer/segue_analyzer/rhythm/octave_network.npz")
HIDDEN = 16
STEPS = 600
BATCH = 64
NEAR = 0.06
NOISE = 0.3
SHAPES = {
    "enter.weight": (HIDDEN, FEATURES),
    "enter.bias": (HIDDEN,),
    "middle.weight": (HIDDEN, HIDDEN),
    "middle.bias": (HIDDEN,),
    "out.weight": (1, HIDDEN),
}


def train(material: list[Heard]) -> list[dict[str, Any]]:
    """Fit the network to the candidates of each excerpt, one of which has the true tempo."""
    sets: list[tuple[np.ndarray, int]] = []
    for each in material:
        beats = find_beats(each.activations.beat)
        if len(each.beats) < 4 or len(beats) < 8:
            continue
        between = np.interp(np.arange(0, len(beats) - 0.9, 0.5), np.arange(len(beats)), beats)
        # The chain may be any of its relatives: each excerpt is seen from three of them.
        for chain, weight in ((beats, 3), (beats[::2], 1), (between, 1)):
            tempo = tempo_of(chain)
            if SLOWEST <= tempo <= FASTEST:
                found = candidates(each.activations, chain, tempo)
                away = [abs(np.log(one.beats_per_minute / each.beats_per_minute)) for one in found]
                if len(found) > 1 and min(away) < NEAR:
                    sets += [(np.stack([one.features for one in found]), int(np.argmin(away)))] * weight
    known = torch.zeros((len(sets), len(CANDIDATES), FEATURES))
    missing = torch.ones((len(sets), len(CANDIDATES)), dtype=torch.bool)
    for place, (features, _) in enumerate(sets):
        known[place, : len(features)] = torch.from_numpy(features)
        missing[place, : len(features)] = False
    right = torch.tensor([number for _, number in sets])
    weights = new_weights(SHAPES, 1)

    def loss_of(random: torch.Generator) -> torch.Tensor:
        drawn = torch.randint(len(sets), (BATCH,), generator=random)
        noisy = known[drawn] + NOISE * torch.randn((BATCH, len(CANDIDATES), FEATURES), generator=random)
        scores = network(weights, noisy).masked_fill(missing[drawn], -30.0)
        return functional.cross_entropy(scores, right[drawn])

    log = fit(weights, loss_of, STEPS, decay=0.1)
    write(TARGET, weights, log, len(material))
    return log[-1:]


def network(weights: dict[str, torch.Tensor], features: torch.Tensor) -> torch.Tensor:
    """Return a score of each candidate."""
    hidden = torch.relu(features @ weights["enter.weight"].T + weights["enter.bias"])
    hidden = torch.relu(hidden @ weights["middle.weight"].T + weights["middle.bias"])
    return hidden @ weights["out.weight"][0]
