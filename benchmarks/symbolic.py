"""Compares the melodies of our pieces, as notes, with chorales, fiddle tunes and quartets: two tables.

python -m benchmarks.symbolic [--corpus-python PATH] [--seeds 6] [--first-seed 100] [--seconds 48]

PATH is a Python with music21, which brings the corpora. Without it, the recorded means of the corpora are compared.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import report, symbolic_corpus
from benchmarks.music_measures import GENRES, metre_of
from benchmarks.symbolic_measures import NAMES, LineMeasures, mean_of, measure_line
from segue_music.codec import section_seed
from segue_music.elements import LayerKind
from segue_music.plan import Brief
from segue_music.timing import TICKS_PER_QUARTER, ticks_per_bar
from segue_planner.planner import Planner
from segue_renderer.sketch.band import SketchBand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_music.elements import Note
    from segue_music.plan import Plan, SectionSpec

TITLES = ("steps", "turns", "bar rhythms", "distinct bars", "parallels", "range", "one climax", "place of climax")
NONE = float("nan")
RECORDED = {
    "chorales, 48 pieces": LineMeasures(0.69, 0.47, 0.52, 0.91, 0.00, 10.3, 0.54, 0.36),
    "fiddle tunes, 48 pieces": LineMeasures(0.43, 0.52, 0.33, 0.72, NONE, 16.9, 0.32, 0.38),
    "quartets, 25 pieces": LineMeasures(0.54, 0.48, 0.54, 0.93, 0.07, 19.4, 0.72, 0.40),
}
"""What music21 10.5.1 brings: Bach's chorales, Ryan's Mammoth Collection, quartets of Haydn and Mozart."""
BEFORE = LineMeasures(0.31, 0.66, 0.32, 0.66, 0.08, 10.3, 0.28, 0.28)
"""sketch-7, measured in the same way with the same seeds."""
SEEDS, FIRST_SEED, SECONDS, PIECES = 6, 100, 48.0, 48


def main() -> None:
    """Print the means of the corpora and of our pieces, and the distances."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus-python", default="")
    parser.add_argument("--pieces", type=int, default=PIECES, help="pieces of each corpus")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--each", action="store_true", help="print a row for each genre")
    given = parser.parse_args()
    report.heading("Melodies as notes")
    corpora = _corpora(given.corpus_python, given.pieces) if given.corpus_python else RECORDED
    rows = [_row(name, found) for name, found in corpora.items()]
    ours: list[LineMeasures] = []
    for genre in GENRES:
        own = [
            found
            for seed in range(given.first_seed, given.first_seed + given.seeds)
            if (found := measure_plan(plan_of(genre, seed, given.seconds))) is not None
        ]
        ours += own
        if given.each and own:
            rows.append(_row(genre, mean_of(own)))
    now = mean_of(ours)
    rows += [_row("sketch-7, recorded", BEFORE), _row(f"now, {len(ours)} pieces", now)]
    report.table(("", *TITLES), rows)
    report.table(("distance to the mean of the corpora", *TITLES), _distances(mean_of(list(corpora.values())), now))


def plan_of(genre: str, seed: int, seconds: float = SECONDS) -> Plan:
    """Plan a piece."""
    return Planner(Brief(prompt=f"{genre} music", genre=genre, seed=seed, duration_ns=round(seconds * 1e9))).plan()


def played(plan: Plan) -> Iterator[tuple[SectionSpec, tuple[Note, ...]]]:
    """Return each section of a piece with its notes."""
    for item in plan.sections:
        yield item.spec, SketchBand(item.spec, section_seed(plan.seed, item.spec.section_id)).notes


def measure_plan(plan: Plan) -> LineMeasures | None:
    """Measure the lead and the bass of a piece, or return None when it has too little of a lead."""
    melody: list[tuple[float, float, int]] = []
    bass: list[tuple[float, float, int]] = []
    first, bar = 0, ticks_per_bar(plan.metre)
    for spec, notes in played(plan):
        for note in notes:
            line = {LayerKind.LEAD: melody, LayerKind.BASS: bass}.get(note.layer)
            if line is not None:
                start = (first + note.start_tick) / TICKS_PER_QUARTER
                line.append((start, note.ticks / TICKS_PER_QUARTER, note.pitch))
        first += spec.bars * ticks_per_bar(metre_of(spec))
    return measure_line(melody, bass, bar / TICKS_PER_QUARTER) if len(melody) > 16 else None


def _corpora(python: str, pieces: int) -> dict[str, LineMeasures]:
    command = [python, str(Path(symbolic_corpus.__file__).resolve()), str(pieces)]
    lines = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    found: dict[str, list[LineMeasures]] = {}
    for line in lines:
        piece = json.loads(line)
        found.setdefault(piece["corpus"], []).append(measure_line(piece["melody"], piece["bass"], piece["bar"]))
    return {f"{name}, {len(own)} pieces": mean_of(own) for name, own in found.items()}


def _row(name: str, found: LineMeasures) -> list[str]:
    return [name, *(_shown(each, getattr(found, each)) for each in NAMES)]


def _shown(name: str, value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}" if name == "span" else f"{value:.2f}"


def distances(found: LineMeasures, target: LineMeasures) -> dict[str, float]:
    """Return how far each measure is from that of the corpora."""
    return {name: abs(getattr(found, name) - getattr(target, name)) for name in NAMES}


def _distances(target: LineMeasures, now: LineMeasures) -> Iterator[list[str]]:
    for title, found in (("sketch-7, recorded", BEFORE), ("now", now)):
        yield [title, *(_shown(name, away) for name, away in distances(found, target).items())]
    ratios = zip(distances(now, target).values(), distances(BEFORE, target).values(), strict=True)
    yield ["ratio; the aim is 0.5", *(f"{after / before:.2f}" for after, before in ratios)]


if __name__ == "__main__":
    main()
