"""The beat network in numpy gives what torch gave, on audio of any length and level."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from tests.analyzer.analyzer_calls import clicks

from segue_analyzer.rhythm.bands import BandStream
from segue_analyzer.rhythm.network import WEIGHTS, hear_beats, run_network
from segue_analyzer.rhythm.tempo import find_pulse
from segue_analyzer.tonality.weights import stored_weights

ROOT = Path(__file__).parents[2]
# Logits of beat and downbeat by training/beats/network.py at some hops of the waves below.
BY_TORCH = {0: (-0.7269, -1.0579), 50: (-0.6445, -1.0112), 120: (-1.077, -2.3383), 199: (-1.7367, -1.4138)}


def waves(hops: int) -> np.ndarray:
    hop, band = np.mgrid[:hops, :66]
    return np.asarray(2 + 2 * np.sin(0.3 * hop + 0.7 * band), dtype=np.float32)


def test_numpy_gives_the_outputs_of_torch() -> None:
    found = run_network(stored_weights("segue_analyzer.rhythm", WEIGHTS), waves(200))
    for hop, expected in BY_TORCH.items():
        assert found[hop] == pytest.approx(expected, abs=2e-3), hop


def test_the_weights_are_those_of_the_record() -> None:
    content = (resources.files("segue_analyzer.rhythm") / WEIGHTS).read_bytes()
    assert len(content) < 2_000_000
    assert (ROOT / "training/beats/record/digest.txt").read_text().split()[0] == hashlib.sha256(content).hexdigest()


def test_windows_of_a_long_recording_give_one_chain_of_beats() -> None:
    rate = 8_000
    sound = np.tile(clicks(120, 50, rate), (6, 1))
    stream = BandStream(rate)
    for first in range(0, len(sound), 40_000):
        stream.push(sound[first : first + 40_000, 0])
    pulse = find_pulse(hear_beats(stream.finish()))
    assert pulse is not None
    assert len(pulse.beats) == pytest.approx(600, abs=2)
    assert np.diff(pulse.beats) == pytest.approx(0.5, abs=0.02)
