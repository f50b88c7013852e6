"""Composes and renders pieces of every genre and prints their measures as a markdown table.

python -m benchmarks.music_quality [--seeds 6] [--first-seed 6] [--seconds 30] [--estimators] [--each] [--genre jazz]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import report
from benchmarks.music_measures import (
    GENRES,
    NoteMeasures,
    SoundMeasures,
    bar_levels,
    estimated_tempo_error,
    key_found,
    make,
    measure_notes,
    measure_sound,
    rank_correlation,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COLUMNS = (
    "genre", "foreign notes, most", "unresolved", "clashes", "out of range", "silent bars", "motif, mean",
    "motif, worst", "peak dB", "offset dB", "correlation", "declared, worst LU", "tempo", "key",
)  # fmt: skip


@dataclass
class Measured:
    """Measures of one piece."""

    notes: NoteMeasures
    sound: SoundMeasures
    levels: list[tuple[float, float]]
    tempo_found: bool | None = None
    key_found: bool | None = None
    notes_found: bool | None = None


def main() -> None:
    """Print one row for each genre or piece, and the totals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--genre", default="")
    parser.add_argument("--estimators", action="store_true", help="estimate tempo and key with librosa, too")
    parser.add_argument("--each", action="store_true", help="print a row for each seed")
    given = parser.parse_args()
    pieces: list[Measured] = []

    def rows() -> Iterator[list[str]]:
        for genre in [given.genre] if given.genre else GENRES:
            own = []
            for seed in range(given.first_seed, given.first_seed + given.seeds):
                own.append(measure(genre, seed, given.seconds, estimators=given.estimators))
                if given.each:
                    yield row(f"{genre} {seed}", own[-1:])
            if not given.each:
                yield row(genre, own)
            pieces.extend(own)

    report.heading("Quality of the sketch band")
    report.table(COLUMNS, rows())
    levels = [pair for piece in pieces for pair in piece.levels]
    similar = [piece.notes.motif_similarity for piece in pieces]
    print(f"motif kept in {np.mean(similar):.0%} of its steps, in the worst piece in {min(similar):.0%}")
    print(f"rank correlation of energy and loudness over {len(levels)} bars: {rank_correlation(levels):.3f}")
    if given.estimators:
        names = ("tempo_found", "notes_found", "key_found")
        tempos, notes, keys = (share([getattr(piece, name) for piece in pieces]) for name in names)
        print(f"tempo found {tempos}; key or its relative found {notes}, the exact key {keys}")


def measure(genre: str, seed: int, seconds: float, *, estimators: bool) -> Measured:
    """Make a piece and measure it."""
    piece = make(genre, seed, seconds)
    found = Measured(measure_notes(piece.plan, piece.bands), measure_sound(piece), list(bar_levels(piece)))
    if estimators:
        found.tempo_found = estimated_tempo_error(piece) <= 0.04
        found.key_found, found.notes_found = key_found(piece)
    return found


def share(found: Sequence[bool | None]) -> str:
    """Return a count and its share."""
    return f"{sum(map(bool, found))}/{len(found)}" if None not in found else "not asked"


def row(name: str, pieces: Sequence[Measured]) -> list[str]:
    """Return the row of a genre or a piece: the worst value when there is a bound, else the mean."""
    notes, sounds = [piece.notes for piece in pieces], [piece.sound for piece in pieces]
    return [
        name,
        f"{max(each.foreign_share for each in notes):.2f}",
        str(sum(each.unresolved for each in notes)),
        str(sum(each.clashes for each in notes)),
        str(sum(each.out_of_range for each in notes)),
        str(sum(each.silent_bars for each in notes)),
        f"{np.mean([each.motif_similarity for each in notes]):.2f}",
        f"{min(each.motif_similarity for each in notes):.2f}",
        f"{max(each.peak_db for each in sounds):.1f}",
        f"{max(each.dc_db for each in sounds):.0f}",
        f"{min(each.correlation for each in sounds):.2f} to {max(each.correlation for each in sounds):.2f}",
        f"{max((each.worst_declared_lu for each in sounds), key=abs):+.1f}",
        share([piece.tempo_found for piece in pieces]),
        share([piece.key_found for piece in pieces]),
    ]


if __name__ == "__main__":
    main()
