"""Tempo, beats, bars and keys of audio with known tempo and key, over a wide grid."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.analyzer.analyzer_calls import RATE, chords, clicks, running_analyzer

from segue.music.v1 import music_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_audio.arrays import Float32

MAJOR, MINOR = music_pb2.MODE_MAJOR, music_pb2.MODE_MINOR
CLASSES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
CAMELOT_MAJOR = ("8B", "3B", "10B", "5B", "12B", "7B", "2B", "9B", "4B", "11B", "6B", "1B")
CAMELOT_MINOR = ("5A", "12A", "7A", "2A", "9A", "4A", "11A", "6A", "1A", "8A", "3A", "10A")


def pitch_class(tonic: str) -> int:
    return (CLASSES[tonic[0]] + tonic.count("#") - tonic[1:].count("b")) % 12


def cadence(tonic: int, *, minor: bool) -> list[list[int]]:
    third = 3 if minor else 4
    fourth = [tonic + 5, tonic + 5 + third, tonic + 12]
    return [
        [tonic, tonic + third, tonic + 7],
        fourth,
        [tonic + 7, tonic + 11, tonic + 14],
        [tonic, tonic + third, tonic + 7],
    ]


def drums(bpm: float, seconds: float, beats_per_bar: int = 4) -> Float32:
    """A kick on the first beat, a snare on the others, hats between, at the same times as `clicks`."""
    rng = np.random.default_rng(3)
    sound = np.zeros(round(seconds * RATE), dtype=np.float32)
    times = np.arange(round(0.15 * RATE)) / RATE
    kick = 0.6 * np.sin(2 * np.pi * (55 * times + 8 * (1 - np.exp(-times * 30)))) * np.exp(-times * 18)
    snare = 0.25 * rng.normal(size=len(times)) * np.exp(-times * 35)
    hat = 0.08 * np.diff(rng.normal(size=len(times) + 1)) * np.exp(-times * 90)
    for half_beat in range(int(seconds * bpm / 30) + 1):
        beat, between = divmod(half_beat, 2)
        voice = hat if between else (kick if beat % beats_per_bar == 0 else snare)
        first = round(half_beat * 30 / bpm * RATE)
        room = max(0, min(len(voice), len(sound) - first))
        sound[first : first + room] += voice[:room].astype(np.float32)
    return sound[:, None]


def hits(found: Sequence[int], wanted: Sequence[float], tolerance_s: float) -> float:
    """F-measure of found frames against expected seconds."""
    seconds = np.array(found) / RATE
    near = sum(bool(np.any(np.abs(seconds - each) <= tolerance_s)) for each in wanted)
    return 2 * near / (len(found) + len(wanted)) if len(found) else 0.0


@pytest.mark.parametrize("offbeat", [0.0, 0.3])
async def test_the_tempo_of_clicks_is_found_to_a_half_per_cent(offbeat: float) -> None:
    async with running_analyzer() as analyzer:
        for bpm in (50, 58.5, 66, 71.3, 80, 88, 93.7, 100, 108, 117.6, 120, 128, 139, 150, 160, 171):
            if offbeat and not 60 <= bpm <= 150:
                continue  # with strong offbeats the outer octaves are ambiguous
            tempo = (await analyzer.pcm(clicks(bpm, 16, first_s=0.31, offbeat=offbeat))).tempo
            # Clicks between the beats may be counted too; then the tempo that was meant is the other one.
            both = (tempo.quarters_per_minute, tempo.other_quarters_per_minute)
            meant = tempo.quarters_per_minute if not offbeat else min(both, key=lambda each: abs(each / bpm - 1))
            assert meant == pytest.approx(bpm, rel=0.005), bpm
            assert tempo.confidence > 0.4, bpm
            wanted = np.arange(0.31, 16, 60 / tempo.quarters_per_minute)
            assert hits(tempo.beats, wanted.tolist(), 0.02) > 0.95, bpm


async def test_the_second_best_tempo_is_half_or_double() -> None:
    async with running_analyzer() as analyzer:
        for bpm in (75, 120, 165):
            tempo = (await analyzer.pcm(clicks(bpm, 16, offbeat=0.2))).tempo
            ratio = tempo.other_quarters_per_minute / tempo.quarters_per_minute
            assert min(abs(np.log2(ratio) - octave) for octave in (-1, 1)) < 0.03, bpm


@pytest.mark.parametrize("beats_per_bar", [3, 4])
async def test_downbeats_stand_where_the_kick_is(beats_per_bar: int) -> None:
    async with running_analyzer() as analyzer:
        for bpm in (84, 120, 150):
            tempo = (await analyzer.pcm(drums(bpm, 24, beats_per_bar))).tempo
            wanted = np.arange(0, 24, 60 / bpm * beats_per_bar).tolist()
            assert hits(tempo.downbeats, wanted, 0.04) > 0.9, bpm
            assert set(tempo.downbeats) <= set(tempo.beats)


async def test_even_clicks_have_no_downbeats() -> None:
    async with running_analyzer() as analyzer:
        tempo = (await analyzer.pcm(clicks(110, 20))).tempo
    assert list(tempo.downbeats) == []


async def test_beats_follow_a_tempo_that_changes() -> None:
    first, second = drums(96, 20), drums(124, 20)
    sound = np.concatenate([first[: round(RATE * 60 / 96 * 32)], second[: round(RATE * 60 / 124 * 36)]])
    change_s = 60 / 96 * 32
    wanted = [60 / 96 * beat for beat in range(32)] + [change_s + 60 / 124 * beat for beat in range(36)]
    async with running_analyzer() as analyzer:
        tempo = (await analyzer.pcm(sound)).tempo
    assert hits(tempo.beats, wanted, 0.05) > 0.9
    gaps = [(later - earlier) / RATE for earlier, later in pairwise(tempo.beats)]
    assert np.median(gaps[:24]) == pytest.approx(60 / 96, rel=0.02)
    assert np.median(gaps[-24:]) == pytest.approx(60 / 124, rel=0.02)


@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
async def test_the_sample_rate_does_not_matter(rate: int) -> None:
    sound = clicks(112, 14, rate) + chords(cadence(57, minor=True) * 2, 1.75, rate)
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(sound, rate)
    assert report.tempo.quarters_per_minute == pytest.approx(112, rel=0.01)
    assert (report.key.key.tonic, report.key.key.mode) == ("A", MINOR)
    seconds = np.array(report.tempo.beats) / rate
    assert hits((seconds * RATE).astype(int).tolist(), np.arange(0, 14, 60 / 112).tolist(), 0.04) > 0.95


@pytest.mark.parametrize("minor", [False, True])
async def test_every_key_is_found_with_its_camelot_code(minor: bool) -> None:
    async with running_analyzer() as analyzer:
        for tonic in range(12):
            report = await analyzer.pcm(chords(cadence(48 + tonic, minor=minor), 1.0))
            found = report.key
            assert (pitch_class(found.key.tonic), found.key.mode) == (tonic, MINOR if minor else MAJOR)
            assert found.camelot == (CAMELOT_MINOR if minor else CAMELOT_MAJOR)[tonic]
            assert 0.2 < found.confidence <= 1
            assert found.other_key != found.key
            assert sum(report.chroma) == pytest.approx(1)
            assert len(report.chroma) == 12


async def test_a_piece_tuned_away_from_440_hz_has_the_same_key() -> None:
    async with running_analyzer() as analyzer:
        for cents in (-40, -20, 20, 40):
            # Played faster or slower, every pitch moves by the same interval.
            rate = round(RATE * 2 ** (cents / 1200))
            report = await analyzer.pcm(chords(cadence(50, minor=False), 1.5), rate)
            assert (report.key.key.tonic, report.key.key.mode) == ("D", MAJOR), cents


async def test_one_tone_and_drums_alone_have_no_key() -> None:
    tone = np.sin(2 * np.pi * 330 * np.arange(RATE * 4) / RATE)[:, None].astype(np.float32) * np.float32(0.2)
    async with running_analyzer() as analyzer:
        assert not (await analyzer.pcm(tone)).HasField("key")
        beaten = await analyzer.pcm(clicks(120, 8))
        assert not beaten.HasField("key") or beaten.key.confidence < 0.3


async def test_drums_have_no_key_also_as_a_section_and_loud_ones_do_not_hide_a_key() -> None:
    loud = drums(104, 10)
    harmony = chords(cadence(55, minor=True), 2.5) * np.float32(0.25)
    async with running_analyzer() as analyzer:
        assert not (await analyzer.pcm(loud)).HasField("key")
        mixed = (await analyzer.pcm(loud + harmony)).key
        assert (mixed.key.tonic, mixed.key.mode) == ("G", MINOR)
        sections = [("drums", 0, len(loud)), ("band", len(loud), len(loud))]
        both = await analyzer.pcm(np.concatenate([loud, loud + harmony]), sections=sections)
    assert [section.HasField("key") for section in both.sections] == [False, True]


async def test_tones_that_fit_no_tuning_have_a_key_with_a_low_confidence() -> None:
    rng = np.random.default_rng(4)
    out_of_tune = [[note + rng.uniform(-0.5, 0.5) for note in chord] for chord in cadence(48, minor=False) * 3]
    async with running_analyzer() as analyzer:
        assert (await analyzer.pcm(chords(cadence(48, minor=False) * 3, 1.0))).key.confidence > 0.3
        weak = await analyzer.pcm(chords(out_of_tune, 1.0))
    assert weak.HasField("key")
    assert 0 < weak.key.confidence < 0.3


async def test_opposite_sides_do_not_hide_the_music() -> None:
    side = clicks(100, 12) + chords(cadence(53, minor=False), 3.0)
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(np.concatenate([side, -side], axis=1))
    assert report.tempo.quarters_per_minute == pytest.approx(100, rel=0.01)
    assert report.key.key.tonic == "F"
    assert report.stereo_correlation == pytest.approx(-1, abs=1e-3)


async def test_level_does_not_matter() -> None:
    sound = drums(104, 16) + chords(cadence(55, minor=True), 4.0)
    async with running_analyzer() as analyzer:
        for gain_db in (-40, -20, 0):
            report = await analyzer.pcm(sound * np.float32(10 ** (gain_db / 20)))
            assert report.tempo.quarters_per_minute == pytest.approx(104, rel=0.01), gain_db
            assert (report.key.key.tonic, report.key.key.mode) == ("G", MINOR), gain_db
