"""Prints the octave-band balance of the band's pieces against the same notes in FluidSynth, as a markdown table.

python -m benchmarks.sketch_balance [genre …]

"!" is beyond the bound; in brackets is a band in which one of both has no music, less than a thousandth of its power.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from math import log10
from typing import TYPE_CHECKING

from benchmarks import report
from benchmarks.fluid import FONTS, sound_of
from benchmarks.music_measures import GENRES, make, octave_bands

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BANDS_HZ = (62, 125, 250, 500, 1000, 2000, 4000, 8000)
LIMIT_DB = 6.0


EXEMPT: Mapping[tuple[str, int], str] = {
    ("trap", 62): "an 808 is a sub bass; the SoundFont plays a synth bass",
    ("techno", 4000): "the SoundFont's electronic kit has hats and claps far louder than its other kits",
}
"""Octave bands that differ from the SoundFont on purpose, with the reason."""
MUSIC_DB = -30.0
"""An octave band with less than this share of the power has no music to balance."""


@dataclass(frozen=True)
class Band:
    """One octave band of both renderings."""

    ours_db: float
    theirs_db: float

    @property
    def difference_db(self) -> float:
        """Level of the sketch band minus that of FluidSynth."""
        return self.ours_db - self.theirs_db

    @property
    def has_music(self) -> bool:
        """Whether both have music in this octave band."""
        return min(self.ours_db, self.theirs_db) >= MUSIC_DB


def compare(genre: str, seed: int, seconds: float = 32.0) -> tuple[Band, ...]:
    """Return the octave bands of a piece in decibels of the power of all eight."""
    piece = make(genre, seed, seconds)
    theirs = sound_of(piece.plan, piece.bands, FONTS["FluidR3"])
    ours = _shares(octave_bands(piece.mix.mean(axis=1).astype("f8"), piece.plan.sample_rate))
    other = _shares(octave_bands(theirs.mean(axis=1).astype("f8"), piece.plan.sample_rate))
    return tuple(map(Band, ours, other))


def _shares(bands_db: Sequence[float]) -> list[float]:
    """Normalise to the power of the octave bands: a SoundFont's rumble below them is not music."""
    whole = 10 * log10(sum(10 ** (each / 10) for each in bands_db))
    return [each - whole for each in bands_db]


def main() -> None:
    """Print one row for each genre."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("genres", nargs="*", default=GENRES)
    given = parser.parse_args()
    report.heading("Octave bands of the sketch band less those of FluidSynth with FluidR3, dB")
    rows = []

    def cells_of(name: str, row: Sequence[float]) -> list[str]:
        return [name, *(f"{value:+.1f}" for value in row)]

    def shown() -> Iterator[list[str]]:
        for genre in given.genres or GENRES:
            found = compare(genre, given.seed, given.seconds)
            rows.append([band.difference_db for band in found])
            marks = [
                "" if not band.has_music else " (meant)" if (genre, hertz) in EXEMPT else "!" * (abs(off) > LIMIT_DB)
                for hertz, band, off in zip(BANDS_HZ, found, rows[-1], strict=True)
            ]
            cells = cells_of(genre, rows[-1])
            yield [
                cells[0],
                *(
                    f"({cell})" if not band.has_music else f"{cell}{mark}"
                    for cell, band, mark in zip(cells[1:], found, marks, strict=True)
                ),
            ]
        yield cells_of("mean", [sum(column) / len(column) for column in zip(*rows, strict=True)])

    report.table(("genre", *(f"{band} Hz" for band in BANDS_HZ)), shown())


if __name__ == "__main__":
    main()
