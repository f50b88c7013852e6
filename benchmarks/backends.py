"""Backends with published libraries: load, first audio, speed, memory, batches, and our cost beside the bare library.

    python -m benchmarks.backends [--models musicgen,audiocraft,ace-step,stable-audio] [--size tiny|published]
                                  [--folder KIND=FOLDER] [--seconds 30] [--repeats 15] [--threads 1] [--precision fp32]

Without `--folder` the models are random ones: tiny, which the tests write, so that the library's part is as small as it
can be and ours as large; or of published sizes, with short sections, few steps and one repeat: MusicGen small,
ACE-Step 1.5 turbo and Stable Audio 3 medium. Ours and the bare library take turns, and processor time is compared, so
that other processes do not decide. Every model is measured in a process of its own, which says on stderr what it does;
audiocraft's is that of .venv-audiocraft (`make setup-audiocraft`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import report
from benchmarks.backends_players import (
    DIFFUSION,
    KINDS,
    PRECISIONS,
    PROMPT,
    REPEATS,
    SECONDS,
    SLOTS,
    STEPS,
    TOGETHER,
    backend_of,
    bare_of,
    temporary,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from segue_renderer.backend import Backend

COLUMNS = (
    "model", "import", "load", "memory", "section, steps", "first audio", "whole section",
    "times real time, 1 / 2 / 4 at once", "bare library", "ours / bare, processor time (median of pairs)",
)  # fmt: skip
AUDIOCRAFT_PYTHON = Path(".venv-audiocraft/bin/python")


def main() -> None:
    """Measure every model, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(KINDS), help="kinds of models to measure")
    parser.add_argument("--size", choices=("tiny", "published"), default="tiny", help="size of random models")
    parser.add_argument("--folder", action="append", default=[], metavar="KIND=FOLDER", help="a model of that kind")
    parser.add_argument("--seconds", type=float, help="length of the section; default: by kind and size")
    parser.add_argument("--repeats", type=int, help="turns that count; default: 15, of published sizes 1")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="of diffusion models; default: by kind and size")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--write", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.folders = dict(each.split("=", 1) for each in given.folder)
    if given.write:
        print(written(given.one, given.size, Path(given.write)))
        return
    if given.one:
        print(json.dumps(asyncio.run(measured(given))))
        return
    kinds = list(given.folders) or given.models.split(",")
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        parser.error(f"{unknown[0]} is not a kind of model; there are: {', '.join(KINDS)}")
    report.heading("Backends beside the bare library")
    report.table(COLUMNS, [row_of(kind, given) for kind in kinds])


def row_of(kind: str, given: argparse.Namespace) -> list[str]:
    """Measure one model in a process of its own."""
    name = Path(given.folders[kind]).name if kind in given.folders else f"{kind}, {given.size}"
    python = str(AUDIOCRAFT_PYTHON) if kind == "audiocraft" else sys.executable
    if not Path(python).exists():
        return [name, "make setup-audiocraft", *[""] * (len(COLUMNS) - 2)]
    with temporary() as place:
        found = _figures(python, kind, given, place)
    if found is None:
        return [name, "failed", *[""] * (len(COLUMNS) - 2)]
    together = " / ".join(f"{found['seconds'] * int(count) / s:.3g}" for count, s in found["together_s"].items())
    return [
        name,
        f"{found['import_s']:.1f} s",
        f"{found['load_s']:.2f} s",
        f"{found['memory_mib']:.0f} MiB",
        f"{found['seconds']:g} s" + (f", {found['steps']} steps {found['precision']}" if found["steps"] else ""),
        f"{found['first_s']:.3f} s",
        f"{found['ours_s']:.3f} s",
        together,
        f"{found['bare_s']:.3f} s",
        f"{found['ratio']:.3f}",
    ]


def _figures(python: str, kind: str, given: argparse.Namespace, place: str) -> dict[str, Any] | None:
    """Write a random model unless there is one, and measure it. A process that wrote it has memory to play in."""

    def said(*more: str) -> str | None:
        command = [python, "-m", "benchmarks.backends", *sys.argv[1:], "--one", kind, *more]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        return None if run.returncode else run.stdout.splitlines()[-1]

    if kind in given.folders:
        found = said()
    else:
        tell(kind, "makes a folder")
        folder = said("--write", place)
        found = said("--folder", f"{kind}={folder}") if folder else None
    return json.loads(found) if found else None


async def measured(given: argparse.Namespace) -> dict[str, Any]:
    """Return all figures of one model."""
    kind = given.one
    import torch

    torch.set_num_threads(given.threads)
    size = given.size
    seconds, repeats = given.seconds or SECONDS[size][kind], given.repeats or REPEATS[size]
    precision = given.precision or PRECISIONS[size].get(kind, "fp32")
    steps = STEPS[size] if kind in DIFFUSION else 0
    folder = Path(given.folders[kind])
    began = time.perf_counter()
    backend = backend_of(kind, folder, given.threads, precision, steps)
    import_s = time.perf_counter() - began
    tell(kind, "loads the model")
    before, began = resident_bytes(), time.perf_counter()
    await backend.load()
    load_s, memory = time.perf_counter() - began, resident_bytes() - before
    bare = await asyncio.to_thread(bare_of, kind, folder, backend, steps)
    firsts, ours, bares, ratios = await turns(kind, backend, bare, seconds, repeats)
    together_s = {}
    for count in TOGETHER[size]:
        if count <= SLOTS.get(kind, 1):
            tell(kind, f"{count} at once")
            times = [await play_together(backend, seconds, count) for _ in range(min(3, repeats))]
            together_s[count] = report.median(times)
    await backend.close()
    return {
        "import_s": import_s,
        "steps": steps,
        "precision": precision,
        "load_s": load_s,
        "memory_mib": memory / 2**20,
        "seconds": seconds,
        "first_s": report.median(firsts),
        "ours_s": report.median(ours),
        "bare_s": report.median(bares),
        "ratio": report.median(ratios),
        "together_s": together_s,
    }


def tell(kind: str, what: str) -> None:
    """Say on stderr what is done: real sizes take minutes."""
    print(f"{time.strftime('%H:%M:%S')} {kind}: {what}", file=sys.stderr, flush=True)


async def turns(
    kind: str, backend: Backend, bare: Callable[[float], None], seconds: float, repeats: int
) -> tuple[list[float], list[float], list[float], list[float]]:
    """Let ours and the bare library take turns: seconds to the first audio, of ours, of bare, and ratios of work."""
    firsts, ours, bares, ratios = [], [], [], []
    for repeat in range(1 + repeats):
        tell(kind, f"turn {repeat} of {repeats}")
        worked, began = time.process_time(), time.perf_counter()
        first_s = await play_ours(backend, seconds, 7)
        ours_s, ours_work = time.perf_counter() - began, time.process_time() - worked
        worked, began = time.process_time(), time.perf_counter()
        await asyncio.to_thread(bare, seconds)
        bare_s, bare_work = time.perf_counter() - began, time.process_time() - worked
        if repeat:  # the first turn warms both up
            firsts.append(first_s)
            ours.append(ours_s)
            bares.append(bare_s)
            ratios.append(ours_work / bare_work)
    return firsts, ours, bares, ratios


async def play_ours(backend: Backend, seconds: float, seed: int) -> float:
    """Render a section with the backend; return the seconds to its first audio."""
    from segue_music.elements import Metre, TempoPoint
    from segue_music.plan import Role, SectionSpec
    from segue_renderer.backend import RenderedAudio, RenderRequest

    rate = backend.profiles[0].sample_rate
    spec = SectionSpec(
        "one", Role.VERSE, 1, frames=round(seconds * rate), sample_rate=rate, prompt=PROMPT, metre=Metre(4, 4),
        tempo_points=(TempoPoint(0, 120.0),), energy=(0.5,),
    )  # fmt: skip
    began, first_s = time.perf_counter(), 0.0
    async for event in backend.render(RenderRequest(spec, "", seed)):
        if isinstance(event, RenderedAudio) and not first_s:
            first_s = time.perf_counter() - began
    return first_s


async def play_together(backend: Backend, seconds: float, count: int) -> float:
    """Return the seconds for several sections at once."""
    began = time.perf_counter()
    await asyncio.gather(*(play_ours(backend, seconds, 7 + number) for number in range(count)))
    return time.perf_counter() - began


def resident_bytes() -> int:
    """Return the memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
