"""The beat network in numpy gives what torch gave, on audio of any length and level."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from tests.analyzer.analyzer_calls import clicks

from segue_analyzer.rhythm.bands import BandStream
from segue_analyzer.rhythm.network import WEIGHTS, BeatActivations, hear_beats, run_network
from segue_analyzer.rhythm.tempo import find_pulse
from segue_analyzer.tonality.weights import stored_weights

ROOT = Path(__file__).parents[2]
# Logits of beat, downbeat and three tempos by training/beats/network.py at some hops of the waves below.
BY_TORCH = {
    0: (0.3197, 0.5584, -2.413, 0.2632, -0.6598),
    50: (-3.2084, -3.3623, 0.1461, -0.4126, -1.0776),
    120: (-4.4122, -6.1256, -0.6063, -0.622, 0.427),
    199: (-1.0801, -1.3262, 0.1577, -0.3068, -0.4275),
}


def waves(hops: int) -> np.ndarray:
    hop, band = np.mgrid[:hops, :66]
    return np.asarray(2 + 2 * np.sin(0.3 * hop + 0.7 * band), dtype=np.float32)


def test_numpy_gives_the_outputs_of_torch() -> None:
    found, tempos = run_network(stored_weights("segue_analyzer.rhythm", WEIGHTS), waves(200))
    for hop, expected in BY_TORCH.items():
        assert [*found[hop], *tempos[hop, 6:20:6]] == pytest.approx(expected, abs=1e-2), hop


def test_the_weights_are_those_of_the_record() -> None:
    content = (resources.files("segue_analyzer.rhythm") / WEIGHTS).read_bytes()
    assert len(content) < 2_000_000
    assert (ROOT / "training/beats/record/digest.txt").read_text().split()[0] == hashlib.sha256(content).hexdigest()


def activations(beats_per_minute: float, seconds: int) -> BeatActivations:
    rate = 8_000
    stream = BandStream(rate)
    stream.push(clicks(beats_per_minute, seconds, rate)[:, 0])
    return hear_beats(stream.finish())


@pytest.mark.parametrize("beats_per_minute", [70, 100, 140])
def test_the_tempo_of_clicks_is_likelier_than_others_that_are_no_octave_of_it(beats_per_minute: float) -> None:
    heard = activations(beats_per_minute, 20)
    for part in (heard, heard.part(5.3, 15.8)):
        octaves, others = (
            max(part.tempo_log_chance(beats_per_minute * ratio) for ratio in ratios)
            for ratios in ((0.5, 1.0, 2.0), (2 / 3, 0.75, 4 / 3, 1.5))
        )
        assert octaves > others + 1


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
