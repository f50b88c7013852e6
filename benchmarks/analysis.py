"""Measures how right tempo, beats, bars and keys are, on excerpts with true labels that no training has seen.

The excerpts are the test half of training/beats: `python -m benchmarks.analysis` makes them anew. An excerpt without an
answer counts as 0. `--peers` adds librosa and, where it is installed, aubio. `--cost` measures what an analysis costs.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from training.beats import synth
from training.beats.excerpts import NEEDS_FLUIDSYNTH, SOURCES, excerpts

from benchmarks import analysis_cost
from benchmarks.report import heading, table
from segue_analyzer.analysis import AudioAnalysis
from segue_audio.resample import StreamResampler
from segue_music.theory import MINOR_MODES, pitch_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from training.beats.excerpts import Excerpt

COUNTS: Final = {"sketch": 60, "band": 60, "hymn": 55, "tune": 60, "drums": 50, "clicks": 20, "free": 20}
NEAR_S: Final = 0.07
SURE: Final = 0.3
"""A tempo or key below this confidence is no false one where there is none."""


@dataclass
class Answer:
    """What a program heard."""

    beats_per_minute: float | None = None
    beats: Sequence[float] = ()
    downbeats: Sequence[float] = ()
    key: tuple[int, bool] | None = None
    tempo_confidence: float = 1.0
    key_confidence: float = 1.0


@dataclass
class Scores:
    """Scores of one program, each with the source of its excerpt."""

    values: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    cpu_s: float = 0.0
    sound_s: float = 0.0

    def add(self, measure: str, source: str, value: float) -> None:
        """Add a score."""
        self.values.setdefault(measure, []).append((source, float(value)))

    def of(self, measure: str, source: str | None = None) -> NDArray[np.float64]:
        """Return the scores of a measure, of all sources or one."""
        return np.array([value for where, value in self.values.get(measure, []) if source in {None, where}])


MEASURES: Final = ("Acc1", "Acc2", "beat F", "downbeat F", "key", "MIREX", "false tempo", "false key")


def ours(excerpt: Excerpt) -> Answer:
    """Ask the analyzer, without a plan."""
    analysis = AudioAnalysis(excerpt.rate, 1)
    analysis.push(excerpt.sound[:, None])
    report = analysis.report()
    answer = Answer()
    if report.tempo is not None:
        answer.beats_per_minute = report.tempo.quarters_per_minute
        answer.beats = [frame / excerpt.rate for frame in report.tempo.beats]
        answer.downbeats = [frame / excerpt.rate for frame in report.tempo.downbeats]
        answer.tempo_confidence = report.tempo.confidence
    if report.key is not None:
        answer.key = (pitch_class(report.key.key.tonic), report.key.key.mode in MINOR_MODES)
        answer.key_confidence = report.key.confidence
    return answer


def librosa_beats(excerpt: Excerpt) -> Answer:
    """Ask librosa's beat tracker."""
    import librosa

    rate = 22_050
    resampler = StreamResampler(excerpt.rate, rate, 1, quality="HQ")
    mono = np.concatenate([resampler.push(excerpt.sound[:, None]), resampler.finish()])[:, 0]
    tempo, beats = librosa.beat.beat_track(y=mono, sr=rate, units="time")
    found = float(np.atleast_1d(tempo)[0])
    return Answer(found if found > 0 else None, beats.tolist())


def aubio_beats(excerpt: Excerpt) -> Answer:
    """Ask aubio's beat tracker."""
    import aubio  # type: ignore[import-not-found]  # under the GPL: used where somebody has installed it

    hop = 512
    tracker = aubio.tempo("default", 1024, hop, excerpt.rate)
    starts = range(0, len(excerpt.sound) - hop, hop)
    beats = [float(tracker.get_last_s()) for first in starts if tracker(excerpt.sound[first : first + hop])[0]]
    tempo = 60.0 / float(np.median(np.diff(beats))) if len(beats) > 2 else None
    return Answer(tempo, beats)


def score(excerpt: Excerpt, answer: Answer, scores: Scores) -> None:
    """Compare an answer with what is true."""
    source = excerpt.source
    if len(excerpt.beats) == 0:
        scores.add("false tempo", source, answer.beats_per_minute is not None and answer.tempo_confidence >= SURE)
    else:
        true = excerpt.beats_per_minute
        found = answer.beats_per_minute or 0.0
        scores.add("Acc1", source, abs(found / true - 1) <= 0.04)
        scores.add("Acc2", source, any(abs(found / true / octave - 1) <= 0.04 for octave in (1, 2, 3, 1 / 2, 1 / 3)))
        scores.add("beat F", source, f_measure(answer.beats, excerpt.beats))
        if excerpt.downbeats is not None and len(excerpt.downbeats):
            scores.add("downbeat F", source, f_measure(answer.downbeats, excerpt.downbeats))
    if excerpt.key is not None:
        scores.add("key", source, answer.key == excerpt.key)
        scores.add("MIREX", source, mirex(answer.key, excerpt.key))
    if excerpt.no_key:
        scores.add("false key", source, answer.key is not None and answer.key_confidence >= SURE)


def f_measure(found: Sequence[float], true: NDArray[np.float64]) -> float:
    """Return the F-measure within 70 ms; each true beat counts once."""
    free = sorted(found)
    hits = 0
    for beat in true:
        near = [each for each in free if abs(each - beat) <= NEAR_S]
        if near:
            free.remove(min(near, key=lambda each: abs(each - beat)))
            hits += 1
    return 2 * hits / (len(found) + len(true)) if len(found) else 0.0


def mirex(found: tuple[int, bool] | None, true: tuple[int, bool]) -> float:
    """Return MIREX's score: 1, a fifth 0.5, the relative key 0.3, the parallel key 0.2."""
    if found is None:
        return 0.0
    away = (found[0] - true[0]) % 12
    if found[1] == true[1]:
        return {0: 1.0, 7: 0.5, 5: 0.5}.get(away, 0.0)
    if away == 0:
        return 0.2
    relative = 9 if found[1] else 3
    return 0.3 if away == relative else 0.0


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of the mean, by 2000 bootstrap samples."""
    if len(values) == 0:
        return 0.0, 0.0
    rng = np.random.default_rng(1)
    means = values[rng.integers(0, len(values), (2_000, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def material(sources: Sequence[str], share: float, rate: int) -> Iterator[Excerpt]:
    """Yield the excerpts of the test half."""
    for source in sources:
        if source in NEEDS_FLUIDSYNTH and not synth.installed():
            print(f"{source}: left out, FluidSynth or its font is not installed", file=sys.stderr)
            continue
        yield from excerpts("test", source, range(max(1, round(COUNTS[source] * share))), rate)


def main() -> int:
    """Print the accuracy of all programs, and of the analyzer by source."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="part of the excerpts")
    parser.add_argument("--sources", default=",".join(SOURCES))
    parser.add_argument("--rate", type=int, default=24_000)
    parser.add_argument("--peers", action="store_true", help="measure librosa and aubio too")
    parser.add_argument("--answers", type=Path, help="a file for the scores of each excerpt, as JSON")
    parser.add_argument("--cost", action="store_true", help="measure processor time, memory and start instead")
    given = parser.parse_args()
    if given.cost:
        return analysis_cost.main()
    programs: dict[str, Callable[[Excerpt], Answer]] = {"segue": ours}
    if given.peers:
        programs["librosa"] = librosa_beats
        if importlib.util.find_spec("aubio"):
            programs["aubio"] = aubio_beats
    found = {name: Scores() for name in programs}
    rows = []
    for excerpt in material(given.sources.split(","), given.share, given.rate):
        for name, program in programs.items():
            before = time.process_time()
            answer = program(excerpt)
            found[name].cpu_s += time.process_time() - before
            found[name].sound_s += len(excerpt.sound) / excerpt.rate
            one = Scores()
            score(excerpt, answer, one)
            for measure, pairs in one.values.items():
                found[name].add(measure, *pairs[0])
            values = {measure: round(pairs[0][1], 3) for measure, pairs in one.values.items()}
            rows.append({"program": name, "excerpt": excerpt.name, "digest": excerpt.digest[:16], **values})
    if given.answers:
        given.answers.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    print_tables(found)
    return 0


def print_tables(found: dict[str, Scores]) -> None:
    """Print all measures with their intervals, and those of the analyzer by source."""
    heading("Accuracy of the analysis")
    lines = []
    for name, scores in found.items():
        cells = [name]
        for measure in MEASURES:
            values = scores.of(measure)
            low, high = interval(values)
            known = len(values) and (name == "segue" or measure in {"Acc1", "Acc2", "beat F"})
            cells.append(f"{values.mean():.3f} ({low:.2f} to {high:.2f})" if known else "")
        cells.append(f"{scores.cpu_s / scores.sound_s * 60:.2f}")
        lines.append(cells)
    table(["program", *MEASURES, "CPU s a minute"], lines)
    heading("Accuracy of the analyzer by source")
    heard = {source for values in found["segue"].values.values() for source, _ in values}
    sources = [source for source in SOURCES if source in heard]
    by_source = []
    for source in sources:
        cells = [source]
        for measure in MEASURES:
            values = found["segue"].of(measure, source)
            cells.append(f"{values.mean():.3f} of {len(values)}" if len(values) else "")
        by_source.append(cells)
    table(["source", *MEASURES], by_source)


if __name__ == "__main__":
    sys.exit(main())
