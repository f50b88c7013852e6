"""Measures the speed of master and meter beside ffmpeg, pyloudnorm and libebur128, and the memory of a master.

python -m benchmarks.mixer_speed [--seconds 60] [--rounds 5] [--short]

The tables show CPU seconds on one core, so that other processes do not count; the runs of a table take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import ebur128
from benchmarks.report import heading, median, table
from segue_audio.files import AudioFileSettings, FileFormat, open_reader, open_writer
from segue_audio.loudness import LoudnessMeter
from segue_mixer.master.measure_pass import MeasurePass
from segue_mixer.master.presets import PRESETS, Preset
from segue_mixer.master.render_pass import RenderPass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

RATE = 48_000
BLOCK_FRAMES = 65_536
MINUTES = (1, 10, 60)
THREADS = "OPENBLAS_NUM_THREADS"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", action="store_true", help="leave out an hour of memory")
    parser.add_argument("--one", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if os.environ.get(THREADS) != "1":
        # As in `segued`: on one core two threads would wait for each other. numpy has read it already.
        again = [sys.executable, "-m", "benchmarks.mixer_speed", *sys.argv[1:]]
        os.execve(sys.executable, again, os.environ | {THREADS: "1"})  # noqa: S606  this very program
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if given.one:
        _one_master(given.one)
        return
    sound = music(given.seconds)
    seconds = len(sound) / RATE
    with tempfile.TemporaryDirectory(prefix="segue-speed-") as folder:
        source = Path(folder) / "draft.wav"
        with open_writer(source, AudioFileSettings(file_format=FileFormat.WAV, bit_depth=32)) as writer:
            writer.write(sound)
        _masters(source, Path(folder), seconds, given.rounds)
    _meters(sound, seconds, given.rounds)
    _memory(MINUTES[:2] if given.short else MINUTES)


def music(seconds: float) -> NDArray[np.float32]:
    """Return a piece of the sketch band, its sections in sequence."""
    from segue_music.plan import Brief
    from segue_planner.planner import Planner
    from segue_renderer.sketch.band import SketchBand

    brief = Brief(prompt="house with strings, 124 bpm", seed=4, duration_ns=round(seconds * 1e9))
    made = [
        np.sum(list(stems.values()), axis=0)
        for item in Planner(brief).plan().sections
        for first, stems in SketchBand(item.spec, 4).blocks()
        if first < item.spec.frames
    ]
    return np.asarray(np.concatenate(made), np.float32)


def taking_turns(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the CPU seconds of each run, child processes included."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            began = _cpu_s()
            run()
            if number:  # the first round warms up
                taken[name].append(_cpu_s() - began)
    return taken


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def master(blocks: Callable[[], Iterator[NDArray[np.float32]]], write: Callable[[NDArray[np.float32]], object]) -> None:
    """Run both passes with every stage on."""
    settings = PRESETS[Preset.STREAMING]
    measuring = MeasurePass(settings, (), RATE, 2)
    try:
        for block in blocks():
            measuring.push(block)
        for _ in measuring.read_again():
            pass
        rendering = RenderPass(measuring.measurement(), (), RATE, 2)
    finally:
        measuring.close()
    for block in blocks():
        for ready in rendering.push(block):
            write(ready)
    for ready in rendering.finish():
        write(ready)


def _master_file(source: Path, target: Path) -> None:
    def blocks() -> Iterator[NDArray[np.float32]]:
        with open_reader(source) as reader:
            yield from reader.blocks(BLOCK_FRAMES)

    with open_writer(target, AudioFileSettings(file_format=FileFormat.WAV)) as writer:
        master(blocks, writer.write)


def _loudnorm(source: Path, target: Path) -> None:
    base = "loudnorm=I=-14:TP=-1:LRA=11"
    quiet = ["ffmpeg", "-hide_banner", "-nostats", "-y", "-threads", "1", "-i", str(source)]
    first = [*quiet, "-af", f"{base}:print_format=json", "-f", "null", "-"]
    said = subprocess.run(first, capture_output=True, text=True, check=True).stderr
    found = json.loads(re.findall(r"\{[^{}]*\}", said)[-1])
    known = ":".join(f"measured_{key}={found['input_' + key.lower()]}" for key in ("I", "TP", "LRA"))
    known += f":measured_thresh={found['input_thresh']}:offset={found['target_offset']}:linear=true"
    chain = f"{base}:{known},alimiter=limit=0.891:level=false"
    second = [*quiet, "-af", chain, "-ac", "2", "-ar", str(RATE), "-c:a", "pcm_s24le", str(target)]
    subprocess.run(second, capture_output=True, check=True)


def _masters(source: Path, folder: Path, seconds: float, rounds: int) -> None:
    heading("Mixer: mastering a file")
    runs: dict[str, Callable[[], object]] = {"segue, preset streaming": lambda: _master_file(source, folder / "a.wav")}
    if shutil.which("ffmpeg"):
        runs["ffmpeg loudnorm, two passes, alimiter"] = lambda: _loudnorm(source, folder / "b.wav")
    _print(taking_turns(runs, rounds), seconds, "master, file to file")


def _meters(sound: NDArray[np.float32], seconds: float, rounds: int) -> None:
    import pyloudnorm

    heading("Mixer: measuring loudness")
    wide = sound.astype(np.float64)
    pyloud = pyloudnorm.Meter(RATE, filter_class="DeMan")

    def ours(*, with_peaks: bool) -> None:
        meter = LoudnessMeter(RATE, 2, with_peaks=with_peaks)
        for first in range(0, len(sound), BLOCK_FRAMES):
            meter.push(sound[first : first + BLOCK_FRAMES])
        meter.result()

    runs: dict[str, Callable[[], object]] = {
        "segue": lambda: ours(with_peaks=False),
        "pyloudnorm (DeMan)": lambda: pyloud.integrated_loudness(wide),
    }
    _print(taking_turns(runs, rounds), seconds, "integrated")
    runs = {"segue": lambda: ours(with_peaks=True)}
    lib = ebur128.library()
    if lib is not None:
        runs["libebur128"] = lambda: ebur128.measure(lib, sound, RATE)
    _print(taking_turns(runs, rounds), seconds, "integrated, range, true peak")


def _print(taken: dict[str, list[float]], seconds: float, what: str) -> None:
    ours = median(next(iter(taken.values())))
    rows = [
        (
            name,
            f"{median(each) * 1000 / seconds * 60:.0f}",
            f"{seconds / median(each):.0f} x",
            f"{median(each) / ours:.2f}",
        )
        for name, each in taken.items()
    ]
    table([what, "CPU ms a minute", "real time", "time against ours"], rows)


def _one_master(minutes: int) -> None:
    """Master a number of minutes and print the peak memory."""
    # Noise with a beat: the sound does not matter for memory, and the sketch band's own memory would count.
    rng = np.random.default_rng(1)
    sound = np.tanh(rng.normal(0, 0.2, (30 * RATE, 2))).astype(np.float32)
    sound *= np.linspace(1, 0.05, 24_000, dtype=np.float32)[np.arange(len(sound)) % 24_000, None]

    def blocks() -> Iterator[NDArray[np.float32]]:
        for _ in range(minutes * 2):
            for first in range(0, 30 * RATE, BLOCK_FRAMES):
                yield sound[first : min(first + BLOCK_FRAMES, 30 * RATE)]

    before = _peak_mib()
    master(blocks, len)
    print(f"{before:.0f} {_peak_mib():.0f}")


def _peak_mib() -> float:
    # Not getrusage: it counts the memory of the parent before exec.
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024


def _memory(minutes: tuple[int, ...]) -> None:
    heading("Mixer: memory of a master")
    rows = []
    for each in minutes:
        command = [sys.executable, "-m", "benchmarks.mixer_speed", "--one", str(each)]
        before, most = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        rows.append((each, before, most))
    table(["minutes", "MiB before", "MiB at peak"], rows)


if __name__ == "__main__":
    main()
