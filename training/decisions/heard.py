"""What the analyzer hears in the excerpts that training/beats/dataset has written."""

# pyright: basic

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segue_analyzer.rhythm.network import hear_beats
from segue_analyzer.tonality.chroma import Harmony

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from segue_analyzer.rhythm.network import BeatActivations


@dataclass
class Heard:
    """An excerpt's activations, harmony and labels."""

    name: str
    source: str
    activations: BeatActivations
    harmony: Harmony
    beats: np.ndarray
    downbeats: np.ndarray
    key: tuple[int, bool] | None

    @property
    def beats_per_minute(self) -> float:
        """The tempo by the median distance; 0 without beats."""
        return 60 / float(np.median(np.diff(self.beats))) if len(self.beats) > 1 else 0.0


def heard_in(folders: list[Path]) -> Iterator[Heard]:
    """Yield the excerpts of folders in the order of their names."""
    for path in sorted(path for folder in folders for path in folder.glob("*-*.npz")):
        with np.load(path) as file:
            treble, bass = file["treble"].astype(np.float64), file["bass"].astype(np.float64)
            level = np.sqrt((treble**2).sum(axis=1) + (bass**2).sum(axis=1))
            harmony = Harmony(treble, bass, level, float(file["tuning"]), float(file["purity"]), file["tone_power"])
            key = (int(file["key"][0]), bool(file["key"][1])) if len(file["key"]) else None
            yield Heard(
                path.stem, path.name.partition("-")[0], hear_beats(file["bands"], harmony), harmony,
                file["beats"], file["downbeats"], key,
            )  # fmt: skip
