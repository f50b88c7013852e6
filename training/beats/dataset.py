"""Makes the material of a half as features, and its manifest: python -m training.beats.dataset FOLDER."""

# pyright: basic

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.rhythm.bands import BandStream
from training.beats import synth
from training.beats.excerpts import HALVES, NEEDS_FLUIDSYNTH, SOURCES, excerpts

if TYPE_CHECKING:
    from training.beats.excerpts import Excerpt

COUNTS: Final = {"sketch": 110, "band": 150, "hymn": 150, "tune": 150, "drums": 80, "clicks": 24, "free": 32}
"""Excerpts of each source to train with."""
CHECK_FIRST: Final = 10_000
"""The first number of the training half's excerpts that choose settings."""
CHECK_COUNT: Final = 12


def main() -> int:
    """Write a file of features for each excerpt, and manifest.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--half", choices=HALVES, default="train")
    parser.add_argument("--sources", default=",".join(SOURCES))
    parser.add_argument("--share", type=float, default=1.0, help="part of the usual number of excerpts")
    parser.add_argument(
        "--check", action="store_true", help="the excerpts that choose settings, not those to train with"
    )
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for source in given.sources.split(","):
        if source in NEEDS_FLUIDSYNTH and not synth.installed():
            print(f"{source}: left out, FluidSynth or its font is not installed", file=sys.stderr)
            continue
        first, count = (CHECK_FIRST, CHECK_COUNT) if given.check else (0, COUNTS[source])
        for excerpt in excerpts(given.half, source, range(first, first + max(1, round(count * given.share)))):
            write_features(excerpt, given.folder / f"{excerpt.name}.npz")
            rows.append(manifest_row(excerpt))
            print(excerpt.name, flush=True)
    (given.folder / "manifest.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    return 0


def write_features(excerpt: Excerpt, path: Path) -> None:
    """Write the bands that the network hears and the labels."""
    stream = BandStream(excerpt.rate)
    stream.push(excerpt.sound)
    downbeats = excerpt.downbeats if excerpt.downbeats is not None else excerpt.beats[:0]
    # Training may be reading the folder: a file appears when it is complete.
    hidden = path.with_suffix(".part")
    with hidden.open("wb") as file:
        np.savez(file, bands=stream.finish(), beats=excerpt.beats, downbeats=downbeats)
    hidden.rename(path)


def manifest_row(excerpt: Excerpt) -> dict[str, object]:
    """Return an excerpt's row of the manifest."""
    return {
        "name": excerpt.name,
        "digest": excerpt.digest[:16],
        "seconds": round(len(excerpt.sound) / excerpt.rate, 2),
        "beats": len(excerpt.beats),
        "beats_per_bar": excerpt.beats_per_bar,
        "beats_per_minute": round(excerpt.beats_per_minute, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
