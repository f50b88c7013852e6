"""Fits small networks whose weights numpy runs: what the decisions share."""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import hashlib
import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from training.beats.export import packed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RECORD = Path("training/decisions/record")


def new_weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    """Return random weights by their names and shapes; biases are 0."""
    torch.manual_seed(seed)
    found = {}
    for name, shape in shapes.items():
        bound = 1.4 / math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else 0.0
        found[name] = torch.empty(shape).uniform_(-bound, bound) if bound else torch.zeros(shape)
    return {name: weight.requires_grad_() for name, weight in found.items()}


def fit(
    weights: dict[str, torch.Tensor], loss_of: Callable[[torch.Generator], torch.Tensor], steps: int, decay: float
) -> list[dict[str, float]]:
    """Minimise a loss of random batches; returns the log."""
    optimizer = torch.optim.AdamW(list(weights.values()), lr=4e-3, weight_decay=decay)
    random = torch.Generator().manual_seed(1)
    log, losses = [], []
    started = time.process_time()
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * min(1.0, step / 30) * (0.5 + 0.5 * math.cos(math.pi * step / steps)) + 1e-6
        loss = loss_of(random)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if step % 100 == 0:
            spent = round(time.process_time() - started, 1)
            log.append({"step": step, "loss": round(sum(losses) / len(losses), 4), "cpu_seconds": spent})
            losses.clear()
    return log


def write(target: Path, weights: Mapping[str, torch.Tensor], log: list[dict[str, Any]], excerpts: int) -> None:
    """Write the weights for the product, and their digest and log into the record."""
    RECORD.mkdir(parents=True, exist_ok=True)
    content = packed({name: weight.detach().numpy() for name, weight in weights.items()})
    target.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    rows = {"file": str(target), "sha256": digest, "excerpts": excerpts, "log": log}
    (RECORD / f"{target.stem}.json").write_text(json.dumps(rows).replace("}, {", "},\n {") + "\n")
