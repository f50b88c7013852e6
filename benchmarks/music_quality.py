"""Composes and renders pieces of every genre and prints what they measure, as a markdown table.

python -m benchmarks.music_quality [--seeds 6] [--seconds 40] [--estimators] [--each] [--genre jazz]
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
    "genre", "foreign notes, most", "unresolved", "clashes", "out of range", "silent bars", "motif", "LUFS", "peak dB",
    "crest dB", "correlation", "declared, worst LU", "tempo", "key or relative", "key", "octave bands 62 Hz to 8 kHz",
)  # fmt: skip


@dataclass
class Measured:
    """What one piece measures."""

    notes: NoteMeasures
    sound: SoundMeasures
    levels: list[tuple[float, float]]
    tempo_found: bool | None = None
    key_found: bool | None = None
    notes_found: bool | None = None


def main() -> None:
    """Print a row a genre, or a row a piece, and the pooled figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--genre", default="")
    parser.add_argument("--estimators", action="store_true", help="ask librosa for tempo and key, too")
    parser.add_argument("--each", action="store_true", help="a row for each seed")
    given = parser.parse_args()
    pieces: list[Measured] = []

    def rows() -> Iterator[list[str]]:
        for genre in [given.genre] if given.genre else GENRES:
            own = []
            for seed in range(given.seeds):
                own.append(measure(genre, seed, given.seconds, estimators=given.estimators))
                if given.each:
                    yield row(f"{genre} {seed}", own[-1:])
            if not given.each:
                yield row(genre, own)
            pieces.extend(own)

    report.heading("Quality of the sketch band")
    report.table(COLUMNS, rows())
    levels = [pair for piece in pieces for pair in piece.levels]
    print(f"rank correlation of energy and loudness over {len(levels)} bars: {rank_correlation(levels):.3f}")
    if given.estimators:
        names = ("tempo_found", "notes_found", "key_found")
        tempos, notes, keys = (share([getattr(piece, name) for piece in pieces]) for name in names)
        print(f"tempo found {tempos}; key or its relative found {notes}, the very key {keys}")


def measure(genre: str, seed: int, seconds: float, *, estimators: bool) -> Measured:
    """Make a piece and measure it."""
    piece = make(genre, seed, seconds)
    found = Measured(measure_notes(piece.plan, piece.bands), measure_sound(piece), list(bar_levels(piece)))
    if estimators:
        found.tempo_found = estimated_tempo_error(piece) <= 0.04
        found.key_found, found.notes_found = key_found(piece)
    return found


def share(found: Sequence[bool | None]) -> str:
    """Return how many of how many."""
    return f"{sum(map(bool, found))}/{len(found)}" if None not in found else "not asked"


def row(name: str, pieces: Sequence[Measured]) -> list[str]:
    """Return the line of a genre or a piece: the worst where there is a bound, else the mean."""
    notes, sounds = [piece.notes for piece in pieces], [piece.sound for piece in pieces]
    return [
        name,
        f"{max(each.strange_share for each in notes):.2f}",
        str(sum(each.unresolved for each in notes)),
        str(sum(each.clashes for each in notes)),
        str(sum(each.out_of_range for each in notes)),
        str(sum(each.silent_bars for each in notes)),
        f"{np.mean([each.motif_similarity for each in notes]):.2f}",
        f"{np.mean([each.lufs for each in sounds]):.1f}",
        f"{max(each.peak_db for each in sounds):.1f}",
        f"{np.mean([each.crest_db for each in sounds]):.1f}",
        f"{min(each.correlation for each in sounds):.2f} to {max(each.correlation for each in sounds):.2f}",
        f"{max((each.worst_declared_lu for each in sounds), key=abs):+.1f}",
        share([piece.tempo_found for piece in pieces]),
        share([piece.notes_found for piece in pieces]),
        share([piece.key_found for piece in pieces]),
        " ".join(f"{value:.0f}" for value in np.mean([each.bands_db for each in sounds], axis=0)),
    ]


if __name__ == "__main__":
    main()
