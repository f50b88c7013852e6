"""Measures what an analysis costs: processor time beside librosa's, memory of long recordings, and the first report.

`python -m benchmarks.analysis --cost` runs it.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.report import heading, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from segue_audio.arrays import Float32

RATE: Final = 44_100
RUNS: Final = 5
ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
LONG: Final = """
import sys
from pathlib import Path
from benchmarks.analysis_cost import RATE, made_music
from segue_analyzer.analysis import AudioAnalysis
analysis, minute = AudioAnalysis(RATE, 2), made_music()
for _ in range(int(sys.argv[1])):
    for first in range(0, len(minute), RATE):
        analysis.push(minute[first : first + RATE])
analysis.report()
# Not ru_maxrss: that of a parent process counts too.
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""
FIRST: Final = """
import numpy as np
from segue_analyzer.analysis import AudioAnalysis
analysis = AudioAnalysis(44_100, 2)
wave = np.sin(np.arange(3 * 44_100, dtype=np.float32) * np.float32(0.03))
analysis.push(np.stack([wave, wave], axis=1))
analysis.report()
"""


def main() -> int:
    """Print all tables, each measured by child processes of one thread."""
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        command = [sys.executable, "-m", "benchmarks.analysis", "--cost"]
        return subprocess.run(command, env=os.environ | ONE_THREAD, check=False).returncode
    heading("Processor time of a minute of stereo at 44.1 kHz")
    processor_time()
    heading("Most memory of a recording")
    table(["hours", "MB"], [[hours, f"{memory_mb(60 * hours):.0f}"] for hours in (1, 3)])
    heading("Start")
    numpy_s, report_s = child_s("import numpy"), child_s(FIRST)
    rows = [["import numpy", f"{numpy_s:.2f}", ""], ["first report", f"{report_s:.2f}", f"{report_s / numpy_s:.2f}"]]
    table(["until", "CPU s", "ratio"], rows)
    return 0


def processor_time() -> None:
    """Print the medians of several runs, each program in turn."""
    import librosa

    minute = made_music()
    mono = minute.mean(axis=1)

    def theirs_at(rate: int) -> Callable[[], object]:
        def run() -> object:
            sound = mono if rate == RATE else librosa.resample(mono, orig_sr=RATE, target_sr=rate)
            librosa.beat.beat_track(y=sound, sr=rate)
            return librosa.feature.chroma_cqt(y=sound, sr=rate)

        return run

    programs: dict[str, Callable[[], object]] = {
        "segue, everything but stems": lambda: measured(minute),
        "librosa beat_track + chroma_cqt at 22.05 kHz, its default": theirs_at(22_050),
        "librosa beat_track + chroma_cqt at 44.1 kHz": theirs_at(RATE),
    }
    found: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(RUNS + 1):
        for name, program in programs.items():
            before = time.process_time()
            program()
            found[name].append(time.process_time() - before)
    # The first run of each compiles and loads.
    medians = {name: statistics.median(values[1:]) for name, values in found.items()}
    ours, *_ = medians.values()
    table(["program", "CPU s", "segue's part"], [[name, f"{s:.2f}", f"{ours / s:.2f}"] for name, s in medians.items()])


def measured(sound: Float32) -> object:
    """Return the report of a recording that arrives in blocks."""
    from segue_analyzer.analysis import AudioAnalysis

    analysis = AudioAnalysis(RATE, sound.shape[1])
    for first in range(0, len(sound), 32_768):
        analysis.push(sound[first : first + 32_768])
    return analysis.report()


def made_music() -> Float32:
    """Return a minute of drums, bass, chords and noise at 120 beats a minute."""
    rng = np.random.default_rng(1)
    beat = RATE // 2
    time_s = np.arange(beat) / RATE
    click = rng.standard_normal(beat) * np.exp(-60 * time_s)
    drum = np.sin(2 * np.pi * 55 * time_s) * np.exp(-12 * time_s)
    beats: list[NDArray[np.float64]] = []
    for number in range(120):
        root = (57, 53, 60, 55)[number // 4 % 4]
        hertz = 440 * 2 ** ((np.array([root - 12, root, root + 4, root + 7]) - 69) / 12)
        chord = np.sin(2 * np.pi * hertz[:, None] * time_s).sum(axis=0) * np.exp(-2 * time_s)
        beats.append(0.1 * chord + 0.2 * click + (0.4 if number % 2 == 0 else 0.1) * drum)
    mono = np.concatenate(beats) + 0.003 * rng.standard_normal(120 * beat)
    return np.stack([mono, np.roll(mono, 30)], axis=1).astype(np.float32)


def memory_mb(minutes: int) -> float:
    """Return the most resident memory of a process that measures a recording, in MB."""
    command = [sys.executable, "-c", LONG, str(minutes)]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, check=True, capture_output=True)
    return int(done.stdout) * 1024 / 1e6


def child_s(program: str) -> float:
    """Return the processor time of a new process: the median of some."""
    times: list[float] = []
    for _ in range(RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", program], env=os.environ | ONE_THREAD, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(times)
