"""Prints the octave-band balance of the band's pieces against the same notes in FluidSynth, as a markdown table.

python -m benchmarks.sketch_balance [genre …]
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from benchmarks import report
from benchmarks.fluid import FONTS, sound_of
from benchmarks.music_measures import GENRES, make, octave_bands

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BANDS_HZ = (62, 125, 250, 500, 1000, 2000, 4000, 8000)


def differences(genre: str, seed: int, seconds: float = 32.0) -> tuple[float, ...]:
    """Return how much more of the whole each octave band has than in FluidSynth, in decibels."""
    piece = make(genre, seed, seconds)
    theirs = sound_of(piece.plan, piece.bands, FONTS["FluidR3"])
    ours = octave_bands(piece.mix.mean(axis=1).astype("f8"), piece.plan.sample_rate)
    other = octave_bands(theirs.mean(axis=1).astype("f8"), piece.plan.sample_rate)
    return tuple(round(a - b, 1) for a, b in zip(ours, other, strict=True))


def main() -> None:
    """Print a row a genre."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=32.0)
    parser.add_argument("genres", nargs="*", default=GENRES)
    given = parser.parse_args()
    report.heading("Octave bands of the sketch band less those of FluidSynth with FluidR3, dB")
    rows = []

    def told(name: str, row: Sequence[float]) -> list[str]:
        return [name, *(f"{value:+.1f}" for value in row)]

    def shown() -> Iterator[list[str]]:
        for genre in given.genres or GENRES:
            rows.append(differences(genre, 3, given.seconds))
            yield told(genre, rows[-1])
        yield told("mean", [sum(column) / len(column) for column in zip(*rows, strict=True)])

    report.table(("genre", *(f"{band} Hz" for band in BANDS_HZ)), shown())


if __name__ == "__main__":
    main()
