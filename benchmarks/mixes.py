"""Measures whether the tracks of DJ sets are found, the tempo and key of each, and whether single pieces are split.

python -m benchmarks.mixes [--seeds 1 2] [--pieces 16] [--singles 35]

Sets and pieces are the band's. Seeds below 100 were used to choose the bounds of segue_analyzer/mixes; the default ones
were not.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks.dj_sets import RATE, TRANSITIONS, drawn_transitions, levelled, make_set
from benchmarks.music_measures import GENRES, make
from benchmarks.report import heading, median, table
from segue_analyzer.analysis import AudioAnalysis
from segue_analyzer.plan_comparison import key_matches, tempo_matches

if TYPE_CHECKING:
    from benchmarks.dj_sets import SetPiece
    from segue_analyzer.report import Report, Track
    from segue_audio.arrays import Float32

NEAR_S: Final = 2.0
SECONDS: Final = (120.0, 300.0)
BLOCK_FRAMES: Final = 32_768


@dataclass
class Found:
    """What was found of the boundaries with one transition."""

    count: int = 0
    inside: int = 0
    offsets_s: list[float] = field(default_factory=list[float])


@dataclass
class Tally:
    """Counts over all sets."""

    boundaries: dict[str, Found] = field(default_factory=lambda: {each: Found() for each in TRANSITIONS})
    false: int = 0
    tracks: int = 0
    tempos: int = 0
    keys: int = 0
    minutes: float = 0.0
    cpu_s: float = 0.0

    def add_set(self, pieces: list[SetPiece], report: Report) -> None:
        """Compare a set with its tracks."""
        left = list(report.tracks[1:])
        matched: dict[int, Track] = {0: report.tracks[0]}
        for number, piece in enumerate(pieces[1:], 1):
            found = self.boundaries[piece.transition]
            found.count += 1
            nearest = min(left, key=lambda track: abs(track.first_frame / RATE - piece.boundary_s), default=None)
            if nearest is None:
                continue
            offset_s = nearest.first_frame / RATE - piece.boundary_s
            if abs(offset_s) <= NEAR_S + piece.fade_s / 2:
                left.remove(nearest)
                found.inside += 1
                found.offsets_s.append(abs(offset_s))
                matched[number] = nearest
        self.false += len(left)
        for number, track in matched.items():
            if number + 1 in matched or number + 1 == len(pieces):
                piece = pieces[number]
                self.tracks += 1
                self.tempos += bool(tempo_matches(track.tempo, piece.quarters_per_minute))
                self.keys += bool(key_matches(track.key, piece.key))

    def analyzed(self, sound: Float32) -> Report:
        """Analyze a recording, and add the time that it takes."""
        began = time.process_time()
        analysis = AudioAnalysis(RATE, 2, find_tracks=True)
        for first in range(0, len(sound), BLOCK_FRAMES):
            analysis.push(sound[first : first + BLOCK_FRAMES])
        report = analysis.report()
        self.cpu_s += time.process_time() - began
        self.minutes += len(sound) / RATE / 60
        return report

    def print_tables(self) -> None:
        """Print the results of the sets."""
        rows = [
            [
                name,
                found.count,
                found.inside,
                sum(offset <= NEAR_S for offset in found.offsets_s),
                f"{median(found.offsets_s):.2f}" if found.offsets_s else "",
            ]
            for name, found in self.boundaries.items()
        ]
        table(["transition", "boundaries", "found", "within 2 s of the middle", "median distance, s"], rows)
        columns = ["tracks between found boundaries", "tempo right", "key right", "boundaries that are none"]
        table(columns, [[self.tracks, self.tempos, self.keys, self.false]])
        table(
            ["minutes of audio", "processor time for a minute, s"],
            [[f"{self.minutes:.0f}", f"{self.cpu_s / max(self.minutes, 1e-9):.2f}"]],
        )


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102])
    parser.add_argument("--pieces", type=int, default=16)
    parser.add_argument("--singles", type=int, default=len(GENRES))
    given = parser.parse_args()
    heading("Tracks of DJ sets")
    tally = Tally()
    for seed in given.seeds:
        dj_set = make_set(seed, drawn_transitions(seed, given.pieces), SECONDS)
        tally.add_set(dj_set.pieces, tally.analyzed(dj_set.sound))
    tally.print_tables()
    split, alone = 0, Tally()
    for number in range(given.singles):
        piece = make(GENRES[number % len(GENRES)], 10_000 + number, 200.0, sample_rate=RATE)
        split += len(alone.analyzed(levelled(piece.mix)).tracks) > 1
    table(["single pieces", "split into several tracks"], [[given.singles, split]])


if __name__ == "__main__":
    main()
