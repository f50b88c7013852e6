"""The networks that decide octave, bars and key: their weights are those of the record, and no key is preferred."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from segue_analyzer.rhythm.downbeats import downbeat_log_odds
from segue_analyzer.rhythm.network import BeatActivations
from segue_analyzer.rhythm.octaves import fitting_ratio
from segue_analyzer.tonality.chroma import FRAMES_PER_SECOND, Harmony
from segue_analyzer.tonality.key_network import key_log_chances

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "training/decisions/record"
BEATS = np.arange(0.5, 20.0, 0.5)


def harmony(moved: int = 0) -> Harmony:
    """A chord for each bar of four beats, up by some semitones."""
    rng = np.random.default_rng(2)
    chords = rng.random((11, 12)) ** 4
    bars = (np.arange(20 * FRAMES_PER_SECOND) / FRAMES_PER_SECOND / 2).astype(int)
    tones = np.roll(chords[bars], moved, axis=1)
    level = np.sqrt(2 * (tones**2).sum(axis=1))
    return Harmony(tones, tones, level, 0.0, 1.0, np.ones((len(tones), 2), dtype=np.float32))


def heard(moved: int = 0) -> BeatActivations:
    """Sure beats at regular times, and no bars."""
    beat = np.full(1_000, -5.0, dtype=np.float32)
    beat[np.round(np.arange(0.5, 19.9, 0.5) * 50).astype(int)] = 4.0
    no_tempo = np.zeros((20, 22), dtype=np.float32)
    return BeatActivations(beat, np.full(1_000, -3.0, dtype=np.float32), no_tempo, harmony(moved))


@pytest.mark.parametrize("path", sorted(RECORD.glob("*_network.json")), ids=lambda path: path.stem)
def test_the_weights_are_those_of_the_record(path: Path) -> None:
    row = json.loads(path.read_text())
    content = (ROOT / row["file"]).read_bytes()
    assert len(content) < 100_000
    assert hashlib.sha256(content).hexdigest() == row["sha256"]


def test_bars_follow_the_harmony_and_are_the_same_in_every_key() -> None:
    log_odds = downbeat_log_odds(heard(), BEATS)
    for moved in (1, 5, 11):
        assert downbeat_log_odds(heard(moved), BEATS) == pytest.approx(log_odds, abs=1e-3)
    changes = np.isclose(BEATS % 2.0, 0.0)
    inner = slice(4, -4)
    assert log_odds[inner][changes[inner]].mean() > log_odds[inner][~changes[inner]].mean() + 0.5


def test_every_transposition_of_the_tones_transposes_the_chances_of_the_keys() -> None:
    plain = harmony()
    chances = key_log_chances(plain.treble, plain.bass)
    assert np.exp(chances).sum() == pytest.approx(1.0)
    for moved in range(12):
        there = harmony(moved)
        expected = np.concatenate([np.roll(chances[:12], moved), np.roll(chances[12:], moved)])
        assert key_log_chances(there.treble, there.bass) == pytest.approx(expected, abs=1e-4)


def test_of_a_chain_and_every_second_of_its_beats_the_heard_ones_are_found() -> None:
    assert fitting_ratio(heard(), BEATS, 120.0) == 1.0
    assert fitting_ratio(heard(), np.arange(0.5, 19.9, 0.25), 240.0) == 0.5
