"""Jumps are ruled out in bulk: only those that the exact check would refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from segue_analyzer.faults.clicks import ClickDetector

if TYPE_CHECKING:
    from segue_analyzer.report import Fault
    from segue_audio.arrays import Float32


@given(
    seed=st.integers(0, 10_000), rate=st.sampled_from((8_000, 11_025, 44_100, 48_000)), block=st.integers(500, 40_000)
)
@settings(max_examples=40, deadline=None)
def test_the_bulk_check_changes_no_fault(seed: int, rate: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    frames = int(rng.integers(100, 2 * rate))
    roughness = np.repeat(rng.random(frames // 500 + 1) ** 6, 500)[:frames]
    sound = rng.standard_normal((2, frames)) * roughness * 10 ** rng.uniform(-4, -0.5)
    jumps = rng.integers(0, frames, 20)
    sound[:, jumps] += rng.uniform(-1, 1, 20)
    with mock.patch.object(ClickDetector, "_candidates", lambda _self, found: found):
        exact = faults_of(sound.astype(np.float32), rate, block)
    assert faults_of(sound.astype(np.float32), rate, block) == exact


def faults_of(planar: Float32, rate: int, block: int) -> list[Fault]:
    detector = ClickDetector(rate, 2)
    for start in range(0, planar.shape[1], block):
        detector.push(planar[:, start : start + block])
    return detector.finish()
