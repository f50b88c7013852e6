"""Measures how right tempo, beats, bars and keys are, on excerpts with true labels that no training has seen.

The excerpts are the test half of training/beats: `python -m benchmarks.analysis` makes them anew. An excerpt without an
answer counts as 0. `--peers` adds librosa, and aubio and essentia where `--peer-python` has them; `--dev` adds the
excerpts of the training half that chose settings, and the drop from them to the test half; `--robustness` compares
each answer with that for the same sound, softer, in stereo, at other rates, coded, faster, slower and shorter.
`--cost` measures what an analysis costs instead.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from training.beats import synth
from training.beats.dataset import FIRSTS
from training.beats.excerpts import NEEDS_FLUIDSYNTH, SOURCES, Excerpt, excerpts

from benchmarks import analysis_cost, analysis_peers
from benchmarks.analysis_robustness import print_robustness
from benchmarks.report import heading, table
from segue_analyzer.analysis import AudioAnalysis
from segue_audio.resample import StreamResampler
from segue_music.theory import MINOR_MODES, pitch_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

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
    rows: list[dict[str, object]] = field(default_factory=list)
    """The scores of each excerpt, for a file."""

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


class PeerEars:
    """A peer as a program that is asked like ours; its processor time is its own process's."""

    def __init__(self, name: str, python: str) -> None:
        self._peer = analysis_peers.Peer(name, python)
        self.cpu_s = 0.0

    def __call__(self, excerpt: Excerpt) -> Answer:
        resampler = StreamResampler(excerpt.rate, self._peer.rate, 1, quality="HQ")
        mono = np.concatenate([resampler.push(excerpt.sound[:, None]), resampler.finish()])[:, 0]
        found = self._peer.hear(mono)
        self.cpu_s = found["cpu_s"]
        key = (int(found["key"][0]), bool(found["key"][1])) if "key" in found else None
        return Answer(found["tempo"] or None, found["beats"], key=key)


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


def material(given: argparse.Namespace, share: float, half: str = "test") -> Iterator[Excerpt]:
    """Yield the excerpts of the test half, or of the training half those that no training has seen."""
    first = 0 if half == "test" else FIRSTS["check"]
    sources, rate = given.sources.split(","), given.rate
    for source in sources:
        if source in NEEDS_FLUIDSYNTH and not synth.installed():
            print(f"{source}: left out, FluidSynth or its font is not installed", file=sys.stderr)
            continue
        numbers = range(first, first + max(1, round(COUNTS[source] * share)))
        files = [given.sounds / f"{half}-{source}-{number}-{rate}.npz" for number in numbers] if given.sounds else []
        if files and all(path.exists() for path in files):
            yield from map(stored, files)
            continue
        for index, excerpt in enumerate(excerpts(half, source, numbers, rate)):
            if files:
                store(excerpt, files[index])
            yield excerpt


def store(excerpt: Excerpt, path: Path) -> None:
    """Keep an excerpt for the next run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    labels: dict[str, Any] = {
        "beats": excerpt.beats, "beats_per_bar": excerpt.beats_per_bar, "no_key": excerpt.no_key,
        "key": np.array(excerpt.key or (), dtype=np.int64),
    }  # fmt: skip
    if excerpt.downbeats is not None:
        labels["downbeats"] = excerpt.downbeats
    labels |= {"name": excerpt.name, "source": excerpt.source, "sound": excerpt.sound, "rate": excerpt.rate}
    np.savez(path, allow_pickle=False, **labels)


def stored(path: Path) -> Excerpt:
    """Return an excerpt of an earlier run."""
    with np.load(path) as file:
        key = (int(file["key"][0]), bool(file["key"][1])) if len(file["key"]) else None
        return Excerpt(
            str(file["name"]), str(file["source"]), file["sound"], int(file["rate"]), file["beats"],
            file.get("downbeats", None), int(file["beats_per_bar"]), key, bool(file["no_key"]),
        )  # fmt: skip


def main() -> int:
    """Print the accuracy of all programs, and of the analyzer by source."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="part of the excerpts")
    parser.add_argument("--sources", default=",".join(SOURCES))
    parser.add_argument("--rate", type=int, default=24_000)
    parser.add_argument("--peers", action="store_true", help="measure librosa, aubio and essentia too")
    parser.add_argument("--peer-python", default=sys.executable, help="an interpreter that has aubio and essentia")
    parser.add_argument("--dev", type=float, default=0.0, metavar="SHARE", help="measure the training half too")
    parser.add_argument(
        "--robustness", type=float, default=0.0, metavar="SHARE", help="compare answers to changed sound"
    )
    parser.add_argument("--answers", type=Path, help="a file for the scores of each excerpt, as JSON")
    parser.add_argument("--sounds", type=Path, help="a folder that keeps the excerpts for the next run")
    parser.add_argument("--beside", type=Path, nargs="*", default=[], help="answers of an earlier run to print too")
    parser.add_argument("--without-ours", action="store_true", help="measure the peers alone, for --beside")
    parser.add_argument("--cost", action="store_true", help="measure processor time, memory and start instead")
    given = parser.parse_args()
    if given.cost:
        return analysis_cost.main()
    found = measured(material(given, given.share), programs(given))
    if given.answers:
        rows = [row for scores in found.values() for row in scores.rows]
        given.answers.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    for path in given.beside:
        add_earlier(found, json.loads(path.read_text()))
    print_tables(found)
    if given.dev:
        print_drop(measured(material(given, given.dev, "train"), {"segue": ours}), found)
    if given.robustness:
        heading("Same tempo and key for the same music")
        print_robustness(material(given, given.robustness))
    return 0


def programs(given: argparse.Namespace) -> dict[str, Callable[[Excerpt], Answer]]:
    """Return the programs to ask."""
    found: dict[str, Callable[[Excerpt], Answer]] = {} if given.without_ours else {"segue": ours}
    for name in analysis_peers.RATES if given.peers else ():
        python = next(
            (each for each in (sys.executable, given.peer_python) if analysis_peers.installed(name, each)), ""
        )
        if python:
            found[name] = PeerEars(name, python)
        else:
            print(f"{name}: left out, it is not installed", file=sys.stderr)
    return found


def measured(asked: Iterator[Excerpt], programs: dict[str, Callable[[Excerpt], Answer]]) -> dict[str, Scores]:
    """Ask the programs for each excerpt."""
    found = {name: Scores() for name in programs}
    for excerpt in asked:
        for name, program in programs.items():
            before = time.process_time()
            answer = program(excerpt)
            spent = program.cpu_s if isinstance(program, PeerEars) else time.process_time() - before
            one = Scores()
            score(excerpt, answer, one)
            values = {measure: round(pairs[0][1], 3) for measure, pairs in one.values.items()}
            keep(
                found[name],
                {
                    "program": name, "excerpt": excerpt.name, "source": excerpt.source, "digest": excerpt.digest[:16],
                    "seconds": round(len(excerpt.sound) / excerpt.rate, 2), "cpu_s": round(spent, 3), **values,
                },
            )  # fmt: skip
    return found


def keep(scores: Scores, row: dict[str, Any]) -> None:
    """Add the row of an excerpt to the scores of a program."""
    scores.rows.append(row)
    scores.cpu_s += row["cpu_s"]
    scores.sound_s += row["seconds"]
    for measure in MEASURES:
        if measure in row:
            scores.add(measure, row["source"], row[measure])


def add_earlier(found: dict[str, Scores], rows: list[dict[str, Any]]) -> None:
    """Add the scores of an earlier run, which must have heard the same excerpts."""
    digests = {row["digest"] for row in found["segue"].rows} if "segue" in found else {row["digest"] for row in rows}
    for row in rows:
        if row["digest"] in digests:
            keep(found.setdefault(row["program"], Scores()), row)


def print_tables(found: dict[str, Scores]) -> None:
    """Print all measures with their intervals, and those of the analyzer by source."""
    heading("Accuracy of the analysis")
    lines: list[list[str]] = []
    for name, scores in found.items():
        cells = [name, str(len(scores.rows))]
        for measure in MEASURES:
            values = scores.of(measure)
            low, high = interval(values)
            known = len(values) and (name == "segue" or measure in analysis_peers.MEASURES[name])
            cells.append(f"{values.mean():.3f} ({low:.2f} to {high:.2f})" if known else "")
        cells.append(f"{scores.cpu_s / max(scores.sound_s, 1e-9) * 60:.2f}")
        lines.append(cells)
    table(["program", "excerpts", *MEASURES, "CPU s a minute"], lines)
    if "segue" not in found:
        return
    heading("Accuracy of the analyzer by source")
    by_source: list[list[str]] = []
    for source in SOURCES:
        cells = [source]
        for measure in MEASURES:
            values = found["segue"].of(measure, source)
            cells.append(f"{values.mean():.3f} of {len(values)}" if len(values) else "")
        if any(cells[1:]):
            by_source.append(cells)
    table(["source", *MEASURES], by_source)


def print_drop(dev: dict[str, Scores], test: dict[str, Scores]) -> None:
    """Print what is lost from the training half to the test half, with the interval of the difference."""
    heading("Drop from the training half to the test half")
    lines: list[list[str]] = []
    for measure in MEASURES:
        here, there = dev["segue"].of(measure), test["segue"].of(measure)
        if len(here) == 0 or len(there) == 0:
            continue
        low, high = drop_interval(here, there)
        drop = here.mean() - there.mean()
        within = "yes" if low <= 0 <= high else "no"
        lines.append([measure, f"{here.mean():.3f} of {len(here)}", f"{there.mean():.3f} of {len(there)}",
                      f"{drop:+.3f} ({low:+.2f} to {high:+.2f})", within])  # fmt: skip
    table(["measure", "training half", "test half", "drop", "0 is within the interval"], lines)


def drop_interval(dev: NDArray[np.float64], test: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two means, by 2000 bootstrap samples."""
    rng = np.random.default_rng(1)
    means = [values[rng.integers(0, len(values), (2_000, len(values)))].mean(axis=1) for values in (dev, test)]
    low, high = np.quantile(means[0] - means[1], [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    sys.exit(main())
