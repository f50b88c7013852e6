"""Prints speed, first block and memory of the band with a voice pack beside the synthesised one, for every genre.

python -m benchmarks.sampled_speed PACK [--seconds 20] [--genres rock,jazz]

Each genre has a process for each of the two, which plays the piece cold, with empty caches, and then warm. Times are
CPU seconds of one core. The aims are 40 x real time cold and 50 x warm, and 100 ms for the first block, cold.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import report
from segue_music.codec import section_seed
from segue_music.plan import Brief
from segue_planner.planner import Planner
from segue_renderer.sketch.band import SketchBand
from segue_renderer.sketch.sampled.pack import read_pack
from segue_renderer.sketch.tables.styles import STYLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.plan import Plan
    from segue_renderer.sketch.sampled.pack import VoicePack

SYNTHESISED = "-"
SEED = 5


def main() -> None:
    """Print the table and the slowest of each column."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pack")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--genres", default=",".join(STYLES))
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(_measured(given.pack, given.one, given.seconds)))
        return
    report.heading("Sampled voices")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows: list[tuple[str, dict[str, float], dict[str, float]]] = []
    for genre in given.genres.split(","):
        rows.append((genre, *(_life(pack, genre, given.seconds) for pack in (SYNTHESISED, given.pack))))
        print(".", end="", file=sys.stderr, flush=True)
    columns = [f"{given.seconds:g} s, all stems", "synthesised, cold", "warm", "sampled, cold", "warm", "warm, share",
               "first block, cold", "memory, synthesised", "sampled"]  # fmt: skip
    report.table(columns, (_row(*row) for row in rows))
    sampled = [row[2] for row in rows]
    cold, warm = (min(each[name] for each in sampled) for name in ("cold", "warm"))
    first_ms = 1000 * max(each["first_s"] for each in sampled)
    print(f"\nslowest: {cold:.0f} x cold, {warm:.0f} x warm, first block {first_ms:.0f} ms")


def _life(pack: str, genre: str, seconds: float) -> dict[str, float]:
    """Measure one genre in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.sampled_speed", pack, "--one", genre, "--seconds", str(seconds)]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def _measured(path: str, genre: str, seconds: float) -> dict[str, float]:
    pack = None if path == SYNTHESISED else read_pack(Path(path), digest="measured")
    plan = Planner(Brief(prompt=genre, genre=genre, seed=SEED, duration_ns=round(seconds * 1e9))).plan()
    length_s = sum(item.spec.frames / item.spec.sample_rate for item in plan.sections)
    began = time.process_time()
    first_s = _played(plan, pack, began)
    cold_s = time.process_time() - began
    warm: list[float] = []
    for _ in range(3):
        began = time.process_time()
        _played(plan, pack, began)
        warm.append(time.process_time() - began)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"cold": length_s / cold_s, "warm": length_s / report.median(warm), "first_s": first_s, "bytes": memory}


def _played(plan: Plan, pack: VoicePack | None, began: float) -> float:
    """Compose and play all sections; return the CPU seconds to the first block."""
    first_s = 0.0
    for item in plan.sections:
        band = SketchBand(item.spec, section_seed(plan.seed, item.spec.section_id), pack)
        for _ in band.blocks():
            first_s = first_s or time.process_time() - began
    return first_s


def _row(genre: str, plain: dict[str, float], sampled: dict[str, float]) -> Sequence[str]:
    return [
        genre,
        f"{plain['cold']:.0f} x",
        f"{plain['warm']:.0f} x",
        f"{sampled['cold']:.0f} x",
        f"{sampled['warm']:.0f} x",
        f"{sampled['warm'] / plain['warm']:.2f}",
        f"{1000 * sampled['first_s']:.0f} ms",
        f"{plain['bytes'] / 2**20:.0f} MiB",
        f"{sampled['bytes'] / 2**20:.0f} MiB",
    ]


if __name__ == "__main__":
    main()
