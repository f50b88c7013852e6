"""Trains which beats open a bar: `segue_analyzer.rhythm.downbeats` runs it."""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from segue_analyzer.rhythm.beats import find_beats
from segue_analyzer.rhythm.downbeats import DILATIONS, FEATURES, FIRST_HARMONIC, beat_features
from training.decisions.fit import fit, new_weights, write

if TYPE_CHECKING:
    from training.decisions.heard import Heard

TARGET = Path("services/analyzer/segue_analyzer/rhythm/downbeat_network.npz")
CHANNELS = 24
STEPS = 900
BATCH = 24
CROP = 32
NEAR_S = 0.1
DROPOUT = 0.2
LEAST_RIGHT = 0.6
EVEN = 0.15
"""Share of excerpts whose beats are made alike: nothing then tells a bar, and any beat opens one in four."""
WITHOUT_HARMONY = 0.2
"""Share of excerpts that are heard as drums are."""
SHAPES: dict[str, tuple[int, ...]] = {
    "enter.weight": (CHANNELS, FEATURES),
    "enter.bias": (CHANNELS,),
    "out.weight": (1, CHANNELS),
    "out.bias": (1,),
}
for _number in range(len(DILATIONS)):
    SHAPES[f"block{_number}.weight"] = (CHANNELS, CHANNELS, 5)
    SHAPES[f"block{_number}.bias"] = (CHANNELS,)


def train(material: list[Heard]) -> list[dict[str, Any]]:
    """Fit the network to the beats that the analyzer finds when it is told the tempo."""
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    for each in material:
        if len(each.downbeats) < 2:
            continue
        beats = find_beats(each.activations.beat, each.beats_per_minute)
        if len(beats) < 6 or near(beats, each.beats).mean() < LEAST_RIGHT:
            continue
        rows.append((beat_features(each.activations, beats), near(beats, each.downbeats).astype(np.float32)))
    weights = new_weights(SHAPES, 1)

    def loss_of(random: torch.Generator) -> torch.Tensor:
        features, targets, known = _batch(rows, random)
        keep = (torch.rand((BATCH, 1, FEATURES), generator=random) > 0.1).float()
        found = network(weights, features * keep, known[:, :, None], random)
        losses = functional.binary_cross_entropy_with_logits(found, targets, reduction="none")
        return (losses * known).sum() / known.sum()

    log = fit(weights, loss_of, STEPS, decay=0.02)
    write(TARGET, weights, log, len(material))
    return log[-1:]


def near(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return which of the found times are near a true one."""
    hits: np.ndarray = np.abs(found[:, None] - true).min(axis=1) < NEAR_S
    return hits


def _batch(
    rows: list[tuple[np.ndarray, np.ndarray]], random: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    features = torch.zeros((BATCH, CROP, FEATURES))
    targets, known = torch.zeros((BATCH, CROP)), torch.zeros((BATCH, CROP))
    for place, index in enumerate(torch.randint(len(rows), (BATCH,), generator=random).tolist()):
        row, right = rows[index]
        if float(torch.rand(1, generator=random)) < EVEN:
            noise = 0.03 * torch.randn(row.shape, generator=random).numpy()
            row, right = row.mean(axis=0) + noise, np.full(len(row), 0.25, dtype=np.float32)
        first = int(torch.randint(max(1, len(row) - CROP + 1), (1,), generator=random))
        count = min(CROP, len(row))
        if float(torch.rand(1, generator=random)) < WITHOUT_HARMONY:
            row = np.concatenate([row[:, :FIRST_HARMONIC], np.zeros_like(row[:, FIRST_HARMONIC:])], axis=1)
        features[place, :count] = torch.from_numpy(row[first : first + count])
        targets[place, :count] = torch.from_numpy(right[first : first + count])
        known[place, :count] = 1
    return features, targets, known


def network(
    weights: dict[str, torch.Tensor], features: torch.Tensor, known: torch.Tensor, random: torch.Generator | None = None
) -> torch.Tensor:
    """Return a logit of each beat, (batch, beats); `known` is 0 beyond the last beat."""
    found = torch.relu(features @ weights["enter.weight"].T + weights["enter.bias"]) * known
    for number, dilation in enumerate(DILATIONS):
        wide = functional.conv1d(
            found.transpose(1, 2), weights[f"block{number}.weight"], weights[f"block{number}.bias"],
            padding=2 * dilation, dilation=dilation,
        )  # fmt: skip
        wide = torch.relu(wide).transpose(1, 2)
        if random is not None:
            wide = wide * (torch.rand(wide.shape, generator=random) > DROPOUT) / (1 - DROPOUT)
        found = (found + wide) * known
    return found @ weights["out.weight"][0] + weights["out.bias"] + features[:, :, 0]
