"""Prints speed and memory of the sketch band beside FluidSynth with the same notes: two tables.

python -m benchmarks.sketch_speed [--seconds 60] [--rounds 3] [--short]

CPU seconds on one core, so that others on the machine do not count; the ratios are between runs that alternate.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import mido

from benchmarks import report
from benchmarks.fluid import installed, play, write_midi
from segue_music.codec import section_seed
from segue_music.plan import Brief, Plan
from segue_music.timing import tempo_map, ticks_per_bar
from segue_planner.planner import Planner
from segue_renderer.sketch.band import SketchBand

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROMPTS = (
    "pop with strings and choir, 112 bpm",
    "house with vocals, 124 bpm",
    "cinematic with choir, 90 bpm",
    "rock with organ, 136 bpm",
)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="leave out 30 minutes of memory")
    parser.add_argument("--one", type=float, default=0.0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        _one_life(given.one)
        return
    report.heading("Sketch band")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    _speed(given.seconds, given.rounds)
    _memory((1, 10) if given.short else (1, 10, 30))


def _speed(seconds: float, rounds: int) -> None:
    fonts = installed()
    columns = [f"{seconds:g} s, 48 kHz stereo, all stems", "notes", "the band"]
    columns += [f"FluidSynth, {name}" for name in fonts]
    columns += ["faster by", "first bar, cold", "first bar, warm"]
    report.table(columns, (_row(prompt, seconds, rounds, fonts) for prompt in PROMPTS))


def _row(prompt: str, seconds: float, rounds: int, fonts: Mapping[str, Path]) -> list[str]:
    plan = Planner(Brief(prompt=prompt, seed=5, duration_ns=round(seconds * 1e9))).plan()
    cold_s = first_bar_s(plan)
    play_all(plan)
    ours: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in fonts}
    with tempfile.TemporaryDirectory() as folder:
        song = Path(folder) / "song.mid"
        write_midi(plan, _bands(plan), song)
        for _ in range(rounds):
            began = time.process_time()
            play_all(plan)
            ours.append(time.process_time() - began)
            for name, font in fonts.items():
                theirs[name].append(play(song, font, Path(os.devnull)) - loading_s(font))
    band = seconds / report.median(ours)
    peers = [seconds / report.median(found) for found in theirs.values()]
    return [
        prompt,
        str(sum(len(each.notes) for each in _bands(plan))),
        f"{band:.0f} x real time",
        *(f"{peer:.1f} x" for peer in peers),
        f"{band / max(peers):.1f}" if peers else "no peer installed",
        f"{1000 * cold_s:.0f} ms",
        f"{1000 * report.median([first_bar_s(plan) for _ in range(rounds)]):.0f} ms",
    ]


@cache
def loading_s(font: Path) -> float:
    """Return the CPU time of an empty song: start-up and loading the font."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.mid"
        mido.MidiFile(tracks=[mido.MidiTrack([mido.MetaMessage("end_of_track", time=0)])]).save(empty)
        return min(play(empty, font, Path(os.devnull)) for _ in range(2))


def _bands(plan: Plan) -> list[SketchBand]:
    return [SketchBand(item.spec, section_seed(plan.seed, item.spec.section_id)) for item in plan.sections]


def play_all(plan: Plan) -> None:
    """Compose and play all sections."""
    for band in _bands(plan):
        for _ in band.blocks():
            pass


def first_bar_s(plan: Plan) -> float:
    """Return the CPU seconds from a section's plan to the end of its first bar, composing included."""
    item = max(plan.sections, key=lambda each: len(each.spec.layers))
    spec = item.spec
    if spec.metre is None:
        raise ValueError(spec.section_id)
    bar = tempo_map(spec).frame(ticks_per_bar(spec.metre), spec.sample_rate)
    began = time.process_time()
    for first, sounds in SketchBand(spec, 5).blocks():
        if first + len(next(iter(sounds.values()))) >= bar:
            break
    return time.process_time() - began


def _memory(minutes: Sequence[int]) -> None:
    first = 0.0
    rows = []
    for each in minutes:
        command = [sys.executable, "-m", "benchmarks.sketch_speed", "--one", str(60 * each)]
        peak = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        first = first or peak
        rows.append((f"{each} min", f"{peak:.0f} MB", f"{peak - first:+.0f} MB"))
    report.table(("one section of", "peak of the process", "against one minute"), rows)


def _one_life(seconds: float) -> None:
    """Play one section of a given length and print the peak memory of this process."""
    from segue_music.plan import Role

    plan = Planner(Brief(prompt=PROMPTS[0], seed=5, duration_ns=round(seconds * 1e9), form=(Role.CHORUS,))).plan()
    play_all(plan)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
