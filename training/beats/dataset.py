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
from segue_analyzer.tonality.chroma import ChromaStream
from training.beats import synth
from training.beats.excerpts import HALVES, NEEDS_FLUIDSYNTH, SOURCES, excerpts

if TYPE_CHECKING:
    from training.beats.excerpts import Excerpt

COUNTS: Final = {"sketch": 110, "band": 160, "hymn": 120, "tune": 160, "drums": 120, "clicks": 24, "free": 24}
"""Excerpts of each source to train the network of beats with."""
FIRSTS: Final = {"train": 0, "check": 10_000, "decode": 20_000}
"""The first numbers: `check` chooses settings, `decode` trains what decides after the network has heard."""
SHARES: Final = {"train": 1.0, "check": 0.12, "decode": 0.5}


def main() -> int:
    """Write a file of features for each excerpt, and manifest.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--half", choices=HALVES, default="train")
    parser.add_argument("--sources", default=",".join(SOURCES))
    parser.add_argument("--share", type=float, default=1.0, help="part of the usual number of excerpts")
    parser.add_argument("--part", choices=tuple(FIRSTS), default="train", help="which excerpts of the half")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for source in given.sources.split(","):
        if source in NEEDS_FLUIDSYNTH and not synth.installed():
            print(f"{source}: left out, FluidSynth or its font is not installed", file=sys.stderr)
            continue
        first = FIRSTS[given.part]
        count = max(1, round(COUNTS[source] * SHARES[given.part] * given.share))
        for excerpt in excerpts(given.half, source, range(first, first + count)):
            write_features(excerpt, given.folder / f"{excerpt.name}.npz")
            rows.append(manifest_row(excerpt))
            print(excerpt.name, flush=True)
    (given.folder / "manifest.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    return 0


def write_features(excerpt: Excerpt, path: Path) -> None:
    """Write what the analyzer keeps of the sound, and the labels."""
    bands, chroma = BandStream(excerpt.rate), ChromaStream(excerpt.rate)
    bands.push(excerpt.sound)
    chroma.push(excerpt.sound)
    harmony = chroma.finish()
    downbeats = excerpt.downbeats if excerpt.downbeats is not None else excerpt.beats[:0]
    # Training may be reading the folder: a file appears when it is complete.
    hidden = path.with_suffix(".part")
    with hidden.open("wb") as file:
        np.savez(
            file, bands=bands.finish(), beats=excerpt.beats, downbeats=downbeats, beats_per_bar=excerpt.beats_per_bar,
            key=np.array(excerpt.key or (), dtype=int), no_key=excerpt.no_key,
            treble=harmony.treble.astype(np.float32), bass=harmony.bass.astype(np.float32),
            tuning=harmony.tuning_semitones, purity=harmony.purity, tone_power=harmony.tone_power,
        )  # fmt: skip
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
