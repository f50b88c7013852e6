"""Measures chords, structure, drums and swing of the analyzer against pieces whose plan or score is known.

The pieces are our own band's, with genres and seeds that tuned nothing, and scores of the test half of training/beats
that FluidSynth plays. A piece without an answer counts as 0.
"""

# pyright: basic

from __future__ import annotations

import argparse
import itertools
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import numpy as np
from training.beats import synth
from training.beats.scores import DRUMS, Clock
from training.beats.writing import write_band, write_hymn

from benchmarks.analysis import interval
from benchmarks.music_measures import GENRES, make
from benchmarks.report import heading, table
from segue_analyzer.analysis import AudioAnalysis
from segue_music.elements import ChordQuality
from segue_music.theory import CHORD_TONES, pitch_class
from segue_music.timing import tempo_map

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from benchmarks.music_measures import Piece
    from segue_analyzer.report import Report

FIRST_SEED: Final = 900
TEST_GENRES: Final = GENRES[::3]
"""No piece of these genres tuned the analyzer."""
WRITERS: Final = {"band": write_band, "hymn": write_hymn}
RATE: Final = 24_000
STEP_S: Final = 0.05
DRUM_LEVEL: Final = 0.1
"""The rhythm layer's share of a section's level from which drums play; below a twentieth of it they do not."""

Spans = list[tuple[float, float, int | None]]
"""Start, end and triad, 0 to 11 major from C and 12 to 23 minor; None for other chords."""


def triad(root: int, tones: Sequence[int]) -> int | None:
    """Return the triad of a chord; None for one without a fifth or third."""
    if 7 not in tones or not {3, 4} & set(tones):
        return None
    return root + (0 if 4 in tones else 12)


def planned_chords(piece: Piece) -> Spans:
    """Return the chords of a piece of our band."""
    found: Spans = []
    for item in piece.plan.sections:
        clock, rate = tempo_map(item.spec), piece.plan.sample_rate
        for chord in item.spec.chords:
            ends = [
                (item.first_frame + clock.frame(tick, rate)) / rate
                for tick in (chord.start_tick, chord.start_tick + chord.ticks)
            ]
            found.append((ends[0], ends[1], triad(pitch_class(chord.root), CHORD_TONES[chord.quality])))
    return found


def chords_right(report: Report, rate: int, true: Spans) -> float:
    """Return the share of the time in major and minor chords whose chord is right."""
    seconds = true[-1][1]
    times = np.arange(0.5 * STEP_S, seconds, STEP_S)
    wanted, heard = np.full(len(times), -1), np.full(len(times), -2)
    for first, end, kind in true:
        wanted[(times >= first) & (times < end)] = -1 if kind is None else kind
    for span in report.chords:
        inside = (times >= span.first_frame / rate) & (times < (span.first_frame + span.frames) / rate)
        heard[inside] = pitch_class(span.root) + (12 if span.quality is ChordQuality.MINOR else 0)
    known = wanted >= 0
    return float((wanted[known] == heard[known]).mean()) if known.any() else float("nan")


def boundary_f(report: Report, rate: int, true: Sequence[float], within_s: float) -> float:
    """Return the F-measure of the boundaries inside the piece; each true one counts once."""
    found = [part.first_frame / rate for part in report.structure[1:]]
    pairs = sorted(
        (abs(at - place), i, j)
        for (i, at), (j, place) in itertools.product(enumerate(found), enumerate(true))
        if abs(at - place) <= within_s
    )
    if not found or not true:
        return float(not found and not true)
    used: tuple[set[int], set[int]] = (set(), set())
    for _, i, j in pairs:
        if i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
    return 2 * len(used[0]) / (len(found) + len(true))


def labels_f(report: Report, rate: int, true: Sequence[tuple[float, float, int]]) -> float:
    """Return the pairwise F-measure: of pairs of moments, which have the same label."""
    times = np.arange(0.25, true[-1][1], 0.5)
    wanted, heard = np.zeros(len(times), int), np.full(len(times), -1)
    for first, end, role in true:
        wanted[(times >= first) & (times < end)] = role
    names = sorted({part.label for part in report.structure})
    for part in report.structure:
        inside = (times >= part.first_frame / rate) & (times < (part.first_frame + part.frames) / rate)
        heard[inside] = names.index(part.label)
    pairs = np.triu_indices(len(times), 1)
    same, same_true = (heard[pairs[0]] == heard[pairs[1]]), (wanted[pairs[0]] == wanted[pairs[1]])
    both = int(np.count_nonzero(same & same_true))
    return 2.0 * both / max(1, int(np.count_nonzero(same)) + int(np.count_nonzero(same_true))) if names else 0.0


def drums_right(report: Report, spans: Sequence[tuple[float, float, bool]], rate: int) -> float:
    """Return the balanced share of beats whose drums are known and right; NaN where no such beat is heard."""
    numbers = np.array(report.tempo.beats if report.tempo else (), dtype=np.int64)
    beats, plays = numbers.astype(np.float64) / rate, np.isin(numbers, report.drum_beats)
    shares = []
    for wanted in (True, False):
        inside = np.zeros(len(beats), dtype=bool)
        for first, end, drums in spans:
            if drums is wanted:
                inside |= (beats >= first) & (beats < end)
        if inside.any():
            shares.append(float((plays[inside] == wanted).mean()))
    return float(np.mean(shares)) if shares else float("nan")


def measure_own(genre: str, seed: int, seconds: float) -> dict[str, float]:
    """Measure a piece of our band."""
    piece = make(genre, seed, seconds)
    rate = piece.plan.sample_rate
    analysis = AudioAnalysis(rate, 2)
    analysis.push(piece.mix)
    report = analysis.report()
    sections = [
        (item.first_frame / rate, (item.first_frame + item.spec.frames) / rate, int(item.spec.role))
        for item in piece.plan.sections
    ]
    starts = [first for first, _, _ in sections[1:]]
    return {
        "chords": chords_right(report, rate, planned_chords(piece)),
        "boundaries F(3 s)": boundary_f(report, rate, starts, 3.0),
        "boundaries F(0.5 s)": boundary_f(report, rate, starts, 0.5),
        "labels F": labels_f(report, rate, sections),
        "drums": drums_right(report, list(drum_spans(piece)), rate),
    }


def drum_spans(piece: Piece) -> Iterator[tuple[float, float, bool]]:
    """Yield the sections in which the rhythm layer clearly plays, or does not."""
    rate = piece.plan.sample_rate
    for item in piece.plan.sections:
        part = slice(item.first_frame, item.first_frame + item.spec.frames)
        levels = {name: float(np.sqrt((stem[part] ** 2).mean())) for name, stem in piece.stems.items()}
        share = levels.get("rhythm", 0.0) / max(float(np.sqrt(sum(level**2 for level in levels.values()))), 1e-9)
        if share >= DRUM_LEVEL or share <= DRUM_LEVEL / 20:
            yield item.first_frame / rate, part.stop / rate, share >= DRUM_LEVEL


def measure_scores(source: str, numbers: range) -> Iterator[dict[str, float]]:
    """Measure scores that FluidSynth plays, eight at once."""
    for first in range(numbers.start, numbers.stop, 8):
        rng = np.random.default_rng([first, *source.encode()])
        pieces = []
        for _ in range(first, min(first + 8, numbers.stop)):
            score = WRITERS[source]("test", rng, float(rng.uniform(18, 28)))
            clock = Clock(score, rng, lead_s=0.3)
            pieces.append((score, clock, float(clock.seconds(float(score.num_beats))) + 0.5))
        for sound, (score, clock, _) in zip(synth.play_scores(pieces, RATE, rng), pieces, strict=True):
            analysis = AudioAnalysis(RATE, 1)
            analysis.push(sound[:, None])
            report = analysis.report()
            times = clock.seconds(np.arange(score.num_beats + 1, dtype=float))
            chords = [
                (first_s, end_s, triad(tones[0], [(tone - tones[0]) % 12 for tone in tones]))
                for (first_s, end_s), tones in zip(itertools.pairwise(times.tolist()), score.chords, strict=True)
            ]
            found = {"chords": chords_right(report, RATE, chords)}
            if source == "band" and (not any(tone.part == DRUMS for tone in score.tones)):
                found["drums"] = drums_right(report, [(0.0, float(times[-1]), False)], RATE)
            if score.swing != 0.5 and report.tempo is not None:
                found["swing within 0.03"] = float(abs((report.tempo.swing or 0.0) - score.swing) <= 0.03)
            yield found


MEASURES: Final = (
    "chords", "boundaries F(3 s)", "boundaries F(0.5 s)", "labels F", "drums", "swing within 0.03",
)  # fmt: skip


def cell(values: NDArray[np.float64]) -> str:
    """Return the mean, its interval, and the number of pieces."""
    known = values[~np.isnan(values)]
    if not len(known):
        return ""
    low, high = interval(known)
    return f"{known.mean():.3f} ({low:.2f} to {high:.2f}) of {len(known)}"


def main() -> int:
    """Print one row for each source."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="pieces of each of the twelve genres of our band")
    parser.add_argument("--seconds", type=float, default=80.0)
    parser.add_argument("--scores", type=int, default=48, help="scores of each source that FluidSynth plays")
    parser.add_argument("--each", action="store_true", help="print each piece")
    given = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for genre, seed in itertools.product(TEST_GENRES, range(FIRST_SEED, FIRST_SEED + given.seeds)):
        values = measure_own(genre, seed, given.seconds)
        if given.each:
            print(genre, seed, {name: round(value, 2) for name, value in values.items()}, file=sys.stderr)
        for name, value in values.items():
            found["our band"][name].append(value)
    if synth.installed():
        for source in WRITERS:
            for values in measure_scores(source, range(given.scores)):
                for name, value in values.items():
                    found[source][name].append(value)
    heading("Chords, structure, drums and swing")
    table(
        ["source", *MEASURES],
        [[source, *(cell(np.array(values[name])) for name in MEASURES)] for source, values in found.items()],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
