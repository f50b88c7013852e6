"""Backends with published libraries: load, first audio, speed, memory, and what our part costs beside the bare library.

    python -m benchmarks.backends [--models ace-step,stable-audio] [--folder FOLDER] [--seconds 30] [--repeats 15]
                                  [--threads 1]

Without `--folder` the models are tiny random ones, which the tests write: the library's part is then as small as it can
be, and ours as large. Ours and the bare library take turns, and processor time is compared, so that other processes do
not decide. Every model is measured in a process of its own. There is no table of batches: a model makes one section at
a time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import report

if TYPE_CHECKING:
    from segue_renderer.diffusion.backend import DiffusionBackend
    from segue_renderer.diffusion.families.pipeline import LatentPipeline

COLUMNS = (
    "model", "import", "load", "memory", "section", "first audio", "whole section", "times real time", "bare library",
    "ours / bare, processor time (median of pairs)",
)  # fmt: skip
PROMPT = "calm piano, 120 bpm, C major"


def main() -> None:
    """Measure every model, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="ace-step,stable-audio", help="tiny models to measure")
    parser.add_argument("--folder", type=Path, help="a model in diffusers' layout, instead of the tiny ones")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the section")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(asyncio.run(measured(given))))
        return
    report.heading("Diffusion models beside the bare library")
    with tempfile.TemporaryDirectory() as place:
        folders = [given.folder] if given.folder else [tiny(Path(place), kind) for kind in given.models.split(",")]
        report.table(COLUMNS, [row_of(folder, given) for folder in folders])


def tiny(place: Path, kind: str) -> Path:
    """Write a tiny random model."""
    from tests.diffusion import tiny_models

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        write = tiny_models.write_ace_step if kind == "ace-step" else tiny_models.write_stable_audio
        return write(place / kind)


def row_of(folder: Path, given: argparse.Namespace) -> list[str]:
    """Measure one model in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.backends", "--one", "--folder", str(folder)]
    command += ["--seconds", str(given.seconds), "--steps", str(given.steps), "--repeats", str(given.repeats)]
    command += ["--threads", str(given.threads)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(run.stdout.splitlines()[-1])
    return [
        folder.name,
        f"{found['import_s']:.1f} s",
        f"{found['load_s']:.2f} s",
        f"{found['memory_mib']:.0f} MiB",
        f"{given.seconds:g} s",
        f"{found['first_s']:.3f} s",
        f"{found['ours_s']:.3f} s",
        f"{given.seconds / found['ours_s']:.0f}",
        f"{found['bare_s']:.3f} s",
        f"{found['ratio']:.3f}",
    ]


async def measured(given: argparse.Namespace) -> dict[str, float]:
    """Return all figures of one model."""
    began = time.perf_counter()
    import torch

    from segue_renderer.diffusion.backend import DiffusionBackend
    from segue_runtime.settings import DiffusionSettings

    torch.set_num_threads(given.threads)
    import_s = time.perf_counter() - began
    before, began = resident_bytes(), time.perf_counter()
    backend = DiffusionBackend(DiffusionSettings(model=str(given.folder), steps=given.steps))
    await backend.load()
    load_s = time.perf_counter() - began
    memory = resident_bytes() - before
    from segue_renderer.diffusion.folder import DiffusersFolder
    from segue_renderer.diffusion.network import ModelPlacement

    bare = ModelPlacement.of("cpu", "fp32", "none").load(DiffusersFolder.open(given.folder))
    firsts, ours, bares, ratios = [], [], [], []
    for repeat in range(1 + given.repeats):
        worked, began = time.process_time(), time.perf_counter()
        first_s = await play_ours(backend, given.seconds)
        ours_s, ours_work = time.perf_counter() - began, time.process_time() - worked
        worked, began = time.process_time(), time.perf_counter()
        await asyncio.to_thread(play_bare, bare, given.seconds, given.steps)
        bare_s, bare_work = time.perf_counter() - began, time.process_time() - worked
        if repeat:  # the first turn warms both up
            firsts.append(first_s)
            ours.append(ours_s)
            bares.append(bare_s)
            ratios.append(ours_work / bare_work)
    await backend.close()
    return {
        "import_s": import_s,
        "load_s": load_s,
        "memory_mib": memory / 2**20,
        "first_s": report.median(firsts),
        "ours_s": report.median(ours),
        "bare_s": report.median(bares),
        "ratio": report.median(ratios),
    }


async def play_ours(backend: DiffusionBackend, seconds: float) -> float:
    """Render a section with the backend; return the seconds to its first audio."""
    from segue_music.plan import Role, SectionSpec
    from segue_renderer.backend import RenderedAudio, RenderRequest

    rate = backend.profiles[0].sample_rate
    spec = SectionSpec("one", Role.VERSE, 1, frames=round(seconds * rate), sample_rate=rate, prompt=PROMPT)
    began, first_s = time.perf_counter(), 0.0
    async for event in backend.render(RenderRequest(spec, "", 7)):
        if isinstance(event, RenderedAudio) and not first_s:
            first_s = time.perf_counter() - began
    return first_s


def play_bare(pipeline: LatentPipeline, seconds: float, steps: int) -> None:
    """Make the same audio with the library's own pipeline."""
    import diffusers
    import torch

    ours: Any = pipeline.pipe
    is_ace_step = hasattr(ours, "condition_encoder")
    kind: Any = diffusers.AceStepPipeline if is_ace_step else diffusers.StableAudio3Pipeline
    bare = kind(**ours.components)
    bare.set_progress_bar_config(disable=True)
    length = {"lyrics": "[Instrumental]", "audio_duration": seconds} if is_ace_step else {"duration": seconds}
    bare(PROMPT, num_inference_steps=steps, generator=torch.Generator().manual_seed(7), output_type="np", **length)


def resident_bytes() -> int:
    """Return the memory of this process."""
    import psutil

    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    main()
