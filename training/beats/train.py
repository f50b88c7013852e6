"""Trains the beat network on one core: python -m training.beats.train FOLDER ... --minutes 28."""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch.nn import functional

from segue_analyzer.rhythm.bands import HOPS_PER_SECOND, level_of, levelled
from segue_analyzer.rhythm.network import tempo_places
from training.beats.network import BANDS, TEMPOS, logits, new_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator

WIDENED: Final = (0.15, 0.5, 1.0, 0.5, 0.15)
"""Targets around a beat: the ear's and the player's tolerance."""
POSITIVE: Final = (3.0, 6.0)
"""Weights of beats and downbeats against all other hops; `export` takes the second one back out."""
TEMPO_WEIGHT: Final = 0.06
"""Weight of the tempo at each hop beside beats and downbeats."""
CROP: Final = 900
BATCH: Final = 4
DROPOUT: Final = 0.1
MEMORY: Final = 0.99
"""Share of the running means that a step keeps."""
STRETCH: Final = (0.8, 1.25)
SHIFT_BANDS: Final = 4
# Sources in which every excerpt is drawn as often; music without drums needs most.
SHARES: Final = {"sketch": 1.6, "band": 2.4, "hymn": 1.6, "tune": 2.0, "drums": 2.0, "clicks": 0.4, "free": 0.45}


class Material:
    """The excerpts of some folders, in memory; training may begin while they are being made."""

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders
        self._known: set[Path] = set()
        self.bands: list[np.ndarray] = []
        self.times: list[tuple[np.ndarray, np.ndarray]] = []
        self.sources: list[str] = []
        self.load_new()

    def load_new(self) -> None:
        """Load the excerpts that are new, and share the chances among the sources again."""
        for path in sorted(path for folder in self._folders for path in folder.glob("*-*.npz")):
            if path in self._known:
                continue
            self._known.add(path)
            with np.load(path) as file:
                self.bands.append(levelled(file["bands"], level_of(file["bands"])).astype(np.float16))
                self.times.append((file["beats"], file["downbeats"]))
            self.sources.append(path.name.partition("-")[0])
        counts = {name: self.sources.count(name) for name in set(self.sources)}
        weight = np.array([SHARES[name] / counts[name] for name in self.sources])
        self.chance = weight / weight.sum()

    def batch(self, rng: Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return crops, stretched, shifted in pitch and changed in level, and their targets: beats, bars and tempos."""
        bands = np.zeros((BATCH, CROP, BANDS), dtype=np.float32)
        targets = np.zeros((BATCH, 2, CROP), dtype=np.float32)
        tempos = np.zeros((BATCH, TEMPOS, CROP), dtype=np.float32)
        for row, index in enumerate(rng.choice(len(self.bands), BATCH, p=self.chance)):
            stretch = float(rng.uniform(*STRETCH))
            first = self._fill(int(index), stretch, rng, bands[row], targets[row])
            fill_tempos(self.times[index][0] * stretch - first / HOPS_PER_SECOND, tempos[row])
        return torch.from_numpy(bands), torch.from_numpy(targets), torch.from_numpy(tempos)

    def _fill(self, index: int, stretch: float, rng: Generator, bands: np.ndarray, targets: np.ndarray) -> int:
        source = self.bands[index]
        length = int(len(source) * stretch)
        first = int(rng.integers(0, max(1, length - CROP + 1)))
        hops = min(CROP, length - first)
        place = np.minimum((first + np.arange(hops)) / stretch, len(source) - 1.001)
        whole = place.astype(int)
        part = (place - whole)[:, None].astype(np.float32)
        found = source[whole].astype(np.float32) * (1 - part) + source[whole + 1].astype(np.float32) * part
        shift = int(rng.integers(-SHIFT_BANDS, SHIFT_BANDS + 1))
        found = np.roll(found, shift, axis=1)
        if shift > 0:
            found[:, :shift] = 0
        elif shift < 0:
            found[:, shift:] = 0
        bands[:hops] = found * np.float32(rng.uniform(0.75, 1.15))
        for row, times in enumerate(self.times[index]):
            hop = np.round(times * HOPS_PER_SECOND * stretch).astype(int) - first
            for offset, value in enumerate(WIDENED, start=-2):
                near = hop + offset
                near = near[(near >= 0) & (near < hops)]
                targets[row, near] = np.maximum(targets[row, near], value)
        return first


def fill_tempos(beats_s: np.ndarray, targets: np.ndarray) -> None:
    """Share each hop between the first beat and the last among the two classes next to its tempo."""
    if len(beats_s) < 2:
        return
    hops = np.arange(targets.shape[1])
    inside = hops[(hops >= beats_s[0] * HOPS_PER_SECOND) & (hops < beats_s[-1] * HOPS_PER_SECOND)]
    number = np.searchsorted(beats_s, inside / HOPS_PER_SECOND, side="right") - 1
    spans = np.diff(beats_s)[np.minimum(number, len(beats_s) - 2)]
    place = np.clip(tempo_places(60.0 / spans), 0, TEMPOS - 1.001)
    whole = place.astype(int)
    targets[whole, inside] = 1 - (place - whole)
    targets[whole + 1, inside] = place - whole


def main() -> int:
    """Train, and write checkpoint.pt and log.json into the target folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=28.0)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=Path, help="a checkpoint of weights to continue")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.target.mkdir(parents=True, exist_ok=True)
    material = Material(given.folders)
    print(f"{len(material.bands)} excerpts", flush=True)
    weights = new_weights(given.seed)
    if given.start:
        for name, value in torch.load(given.start, weights_only=True).items():
            weights[name].data.copy_(value)
    log = []
    for row, means in steps(material, weights, given.minutes * 60, given.rate, given.seed):
        log.append(row)
        print(json.dumps(row), flush=True)
        torch.save(means, given.target / "checkpoint.pt")
        (given.target / "log.json").write_text(json.dumps(log))
    return 0


def steps(
    material: Material, weights: dict[str, torch.Tensor], limit_s: float, rate: float, seed: int
) -> Iterator[tuple[dict[str, float], dict[str, torch.Tensor]]]:
    """Train until the time is over; yield rows of the log and the weights' running means.

    The means are good at any time, so that a run may be ended early. The learning rate falls in the last third.
    """
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(list(weights.values()), lr=rate, weight_decay=1e-3)
    positive = torch.tensor(POSITIVE)[None, :, None]
    means = {name: weight.detach().clone() for name, weight in weights.items()}
    started, cpu = time.monotonic(), time.process_time()
    losses: list[float] = []
    tempo_losses: list[float] = []
    step = 0
    while (done := (time.monotonic() - started) / limit_s) < 1:
        late = max(0.0, done - 2 / 3) * 3
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 40) * (0.5 + 0.5 * math.cos(math.pi * late)) + 1e-6
        bands, targets, tempos = material.batch(rng)
        found, classes = logits(weights, bands, DROPOUT)
        loss = functional.binary_cross_entropy_with_logits(found, targets, pos_weight=positive)
        off = -(functional.log_softmax(classes, dim=1) * tempos).sum() / tempos.sum().clamp(min=1)
        loss = loss + TEMPO_WEIGHT * off
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
        optimizer.step()
        keep = min(MEMORY, step / (step + 10))
        for name, weight in weights.items():
            means[name].mul_(keep).add_(weight.detach(), alpha=1 - keep)
        losses.append(float(loss.detach()))
        tempo_losses.append(float(off.detach()))
        step += 1
        if step % 100 == 0:
            spent = {"seconds": round(time.monotonic() - started), "cpu_seconds": round(time.process_time() - cpu)}
            means_of = {"loss": round(float(np.mean(losses)), 4), "tempo_loss": round(float(np.mean(tempo_losses)), 4)}
            row: dict[str, float] = {"step": step, "excerpts": len(material.bands), **means_of, **spent}
            yield row, means
            losses.clear()
            tempo_losses.clear()
            material.load_new()


if __name__ == "__main__":
    sys.exit(main())
