"""An analysis interpolates, loads and keeps little, whatever the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from segue_analyzer import spectra
from segue_analyzer.loudness import SectionPeaks
from segue_analyzer.plan_timeline import SectionSpan
from segue_audio import truepeak
from segue_audio.truepeak import TAPS, TruePeakMeter, interpolated_peaks

_FRAMES = 64 * 64
_REPORT = """
import sys
import numpy as np
from segue_analyzer.analysis import AudioAnalysis
analysis = AudioAnalysis(44_100, 2)
analysis.push(np.tile(np.sin(np.arange(100_000, dtype=np.float32) * np.float32(0.05))[:, None], (1, 2)))
analysis.report()
large = {"scipy.ndimage", "scipy.signal", "scipy.fft", "scipy.special", "soundfile"}
large |= {"grpc", "google.protobuf", "structlog", "rich"}
print(*sorted(large & set(sys.modules)))
"""
_LONG = """
from pathlib import Path
import numpy as np
from segue_analyzer.analysis import AudioAnalysis
rng = np.random.default_rng(1)
minute = rng.standard_normal((8_000 * 60, 1)).astype(np.float32) * np.float32(0.02)
minute += np.sin(np.arange(len(minute)) * 0.17)[:, None] * np.exp(-(np.arange(len(minute)) % 4_000) / 900)[:, None]
analysis = AudioAnalysis(8_000, 1)
for _ in range(180):
    analysis.push(minute)
report = analysis.report()
high = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(high.split()[1]) // 1024)
"""


def _sound(kind: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    rng = np.random.default_rng(seed)
    frames = _FRAMES + TAPS
    sound = rng.standard_normal((2, frames))
    if kind == 1:
        sound = np.sin(np.arange(frames) * rng.uniform(0.01, 3.1, (2, 1)) + rng.uniform(0, 6))
    elif kind == 2:
        sound = np.cumsum(sound, axis=1)
    elif kind == 3:
        sound = np.sign(sound) * (rng.random(sound.shape) < 0.1)
    scaled: np.ndarray[tuple[int, int], np.dtype[np.float32]] = (sound / np.abs(sound).max()).astype(np.float32)
    return scaled


@given(kind=st.integers(0, 3), seed=st.integers(0, 2**30), factor=st.sampled_from([2, 4]), share=st.floats(0.4, 1.0))
@hypothesis_settings(max_examples=60, deadline=None)
def test_rows_that_are_not_interpolated_hold_no_higher_peak(kind: int, seed: int, factor: int, share: float) -> None:
    sound = _sound(kind, seed)
    every = interpolated_peaks(sound, factor, 64)
    least = share * float(every.max())
    some = interpolated_peaks(sound, factor, 64, least=least)
    high = every > least * (1 + 1e-5)
    np.testing.assert_allclose(some[high], every[high], atol=2e-6)
    assert float(some[~high].max(initial=0.0)) <= least * (1 + 1e-5) + 2e-6


@pytest.mark.parametrize("measure", ["whole", "sections"])
def test_few_rows_of_steady_music_are_interpolated(measure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []
    find = truepeak._rows_exceeding  # noqa: SLF001 - the test counts what it finds

    def counted(*given: Any) -> Any:
        rows = find(*given)
        searched.append(len(rows))
        return rows

    monkeypatch.setattr(truepeak, "_rows_exceeding", counted)
    frames = 64 * 8_192
    time_s = np.arange(frames) / 44_100
    sound = np.sin(2 * np.pi * 220 * time_s) * (1 + 0.3 * np.sin(2 * np.pi * 0.2 * time_s)) / 1.4
    planar = np.stack([sound, 0.9 * sound]).astype(np.float32)
    if measure == "whole":
        meter = TruePeakMeter(44_100, 2)
        meter.push(planar)
        assert meter.peaks()[0] == pytest.approx(np.abs(planar).max(), rel=1e-3)
    else:
        spans = [SectionSpan("", 0, frames), SectionSpan("a", 0, frames // 2), SectionSpan("b", frames // 2, frames)]
        peaks = SectionPeaks(44_100, 2, spans)
        peaks.push(planar)
        assert peaks.finish()[0][0] == pytest.approx(np.abs(planar).max(), rel=1e-3)
    rows = 2 * frames // 64
    assert sum(searched) < rows / 10, (sum(searched), rows)


def test_the_transform_is_that_of_numpy_and_loads_alone() -> None:
    rows = np.random.default_rng(1).standard_normal((20, 2_048)).astype(np.float32)
    transform = spectra._transform()  # noqa: SLF001 - without it an analysis would become slow unnoticed
    assert transform is not spectra._through_numpy  # noqa: SLF001
    np.testing.assert_allclose(transform(rows), np.fft.rfft(rows, axis=1), atol=1e-4)


def test_a_report_loads_no_large_package() -> None:
    done = subprocess.run([sys.executable, "-c", _REPORT], check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == ""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_hours_stay_below_400_megabytes() -> None:
    # What grows are features at fixed rates, whatever the rate of the sound.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", _LONG], check=True, capture_output=True, env=environment, timeout=600)
    assert int(done.stdout) < 400
