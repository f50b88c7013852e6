"""The meter agrees with libebur128, which most programs use (Debian: libebur128-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from benchmarks import ebur128

from segue_audio.loudness import LoudnessMeter

if TYPE_CHECKING:
    import ctypes


@pytest.fixture(scope="module")
def lib(request: pytest.FixtureRequest) -> ctypes.CDLL:
    found = ebur128.library()
    if found is None:
        text = "needs libebur128 (.ci/reference-programs lists what to install)"
        if request.config.getoption("--require-reference"):
            pytest.fail(text)
        pytest.skip(text)
    return found


@pytest.mark.reference
@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 1), (48_000, 2), (48_000, 6), (96_000, 2)])
def test_libebur128_agrees(lib: ctypes.CDLL, rate: int, channels: int) -> None:
    rng = np.random.default_rng(rate + channels)
    # Long parts: it measures the range once a second, we ten times.
    level = np.repeat(10 ** (np.linspace(-40, -6, 12)[rng.permutation(12)] / 20), 5 * rate)
    # Nothing at the very top of the spectrum, where interpolators differ.
    noise = rng.normal(0, 0.3, (60 * rate, channels))
    for _ in range(3):
        noise[1:-1] = 0.25 * noise[:-2] + 0.5 * noise[1:-1] + 0.25 * noise[2:]
    audio = (level[:, None] * noise).astype(np.float32)
    meter = LoudnessMeter(rate, channels)
    meter.push(audio)
    ours, theirs = meter.result(), ebur128.measure(lib, audio, rate)
    assert ours.integrated_lufs == pytest.approx(theirs.integrated_lufs, abs=0.02)
    assert ours.range_lu == pytest.approx(theirs.range_lu, abs=1.5)
    assert ours.true_peak_dbtp == pytest.approx(theirs.true_peak_dbtp, abs=0.3)
