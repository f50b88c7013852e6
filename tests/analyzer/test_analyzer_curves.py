"""Curves of a report through a real channel: loudness, stereo image, spectrum, attacks, energy, tempo, swing, drums."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.analyzer.analyzer_calls import RATE, chords, clicks, running_analyzer, tone

if TYPE_CHECKING:
    from segue_audio.arrays import Float32


async def test_loudness_stereo_and_energy_follow_the_sound() -> None:
    left = np.concatenate([tone(6, 440, 0.02), tone(6, 440, 0.2)])
    sides = np.concatenate([np.ones(6 * RATE), -np.ones(6 * RATE)]).astype(np.float32)[:, None]
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(np.concatenate([left, left * sides], axis=1))
    loudness = {point.frame / RATE: point.short_term_lufs for point in report.loudness_curve}
    assert list(loudness) == [1.5 + 0.5 * step for step in range(19)]
    assert loudness[10.5] - loudness[1.5] == pytest.approx(20, abs=0.05)
    assert max(loudness.values()) == pytest.approx(report.loudness.max_short_term_lufs, abs=0.05)
    image = [(point.frame, round(point.correlation, 3), round(point.width, 3)) for point in report.stereo_curve]
    assert image == [(second * RATE, *((1.0, 0.0) if second < 6 else (-1.0, 1.0))) for second in range(12)]
    assert len(report.energy_curve) == 12
    assert max(report.energy_curve[:5]) < min(report.energy_curve[7:])
    assert all(0 <= energy <= 1 for energy in report.energy_curve)


@pytest.mark.parametrize("hertz", [60, 250, 1_000, 7_000])
async def test_the_balance_shows_the_octave_of_a_sine(hertz: float) -> None:
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(tone(3, hertz, 0.3))
    bands = report.spectral_balance
    assert all(earlier.high_hz == pytest.approx(later.low_hz) for earlier, later in itertools.pairwise(bands))
    loudest = max(bands, key=lambda band: band.level_db)
    assert loudest.low_hz <= hertz < loudest.high_hz
    assert loudest.level_db == pytest.approx(0, abs=0.1)
    assert all(band.level_db < -20 for band in bands if band != loudest)
    assert report.crest_db == pytest.approx(3.01, abs=0.05)


@pytest.mark.parametrize("rate", [8_000, 44_100])
async def test_bands_end_at_half_the_sample_rate(rate: int) -> None:
    noise = np.random.default_rng(4).normal(0, 0.1, (3 * rate, 1)).astype(np.float32)
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(noise, rate)
    assert report.spectral_balance[-1].high_hz <= rate / 2
    assert sum(10 ** (band.level_db / 10) for band in report.spectral_balance) == pytest.approx(1, abs=1e-6)
    # Noise has as much power in each octave as the octave is wide.
    shares = [band.level_db - 10 * np.log10(band.high_hz - band.low_hz) for band in report.spectral_balance[2:]]
    assert max(shares) - min(shares) < 1.0


async def test_zooms_show_the_same_waveform() -> None:
    sound = tone(200, 3, 0.5, 8_000) * np.linspace(0, 1, 200 * 8_000, dtype=np.float32)[:, None]
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(sound, 8_000)
    usual = (report.peaks_per_second, report.peaks)
    zooms = [usual, *((zoom.peaks_per_second, zoom.peaks) for zoom in report.more_peaks)]
    for per_second, peaks in zooms:
        pairs = np.frombuffer(peaks, np.int8).reshape(-1, 2)
        assert len(pairs) == pytest.approx(200 * per_second, abs=1)
        assert (pairs.max(), pairs.min()) == (pytest.approx(63, abs=1), pytest.approx(-63, abs=1))
    sizes = [len(zoom.peaks) // 2 for zoom in report.more_peaks]
    assert all(size <= most for size, most in zip(sizes, (32_768, 1_024, 128), strict=True))
    assert len(report.more_peaks[0].peaks) > len(report.peaks) > len(report.more_peaks[1].peaks)


@pytest.mark.parametrize("swing", [0.5, 0.58, 0.66])
async def test_swing_candidates_and_onsets_of_a_pattern(swing: float) -> None:
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(swung(100, 20, swing))
    assert report.tempo.swing == pytest.approx(swing, abs=0.03)
    assert report.onsets_per_second == pytest.approx(2 * 100 / 60, rel=0.1)
    first, *others = report.tempo.candidates
    assert (first.quarters_per_minute, first.confidence) == (report.tempo.quarters_per_minute, report.tempo.confidence)
    octaves = sorted(round(each.quarters_per_minute / first.quarters_per_minute, 3) for each in others)
    assert set(octaves) <= {0.5, 2.0}
    assert sum(each.confidence for each in report.tempo.candidates) <= 1 + 1e-9


async def test_the_tempo_curve_follows_a_change() -> None:
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(np.concatenate([clicks(100, 18), clicks(120, 18)]))
    early = [point.quarters_per_minute for point in report.tempo_curve if point.frame < 14 * RATE]
    late = [point.quarters_per_minute for point in report.tempo_curve if point.frame > 22 * RATE]
    assert np.median(early) == pytest.approx(100, rel=0.01)
    assert np.median(late) == pytest.approx(120, rel=0.01)


async def test_drum_beats_are_the_beats_with_drums() -> None:
    harmony = np.tile(chords([(57, 60, 64), (53, 57, 60), (55, 59, 62), (48, 52, 55)], 2.0, level=0.02), (4, 1))
    half = len(harmony) // 2
    sound = harmony.copy()
    sound[half:] += drums(120, len(harmony) - half)
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(sound)
        without = await analyzer.pcm(harmony)
    assert set(report.drum_beats) <= set(report.tempo.beats)
    late = [beat for beat in report.tempo.beats if beat > half + 2 * RATE]
    assert len([beat for beat in report.drum_beats if beat > half - 2 * RATE]) >= 0.9 * len(late)
    assert all(beat > half - 3 * RATE for beat in report.drum_beats)
    assert not without.drum_beats


async def test_silence_and_a_moment_have_no_curves() -> None:
    async with running_analyzer() as analyzer:
        for sound in (np.zeros((4 * RATE, 2), dtype=np.float32), tone(0.05, channels=2) * 0):
            report = await analyzer.pcm(sound)
            for name in (
                "drum_beats", "tempo_curve", "spectral_balance", "energy_curve", "structure", "chords", "key_changes",
            ):  # fmt: skip
                assert not getattr(report, name), name
            assert not report.HasField("crest_db")
            assert report.onsets_per_second == 0
            assert not any(point.HasField("short_term_lufs") for point in report.loudness_curve)
            assert not any(point.HasField("correlation") or point.HasField("width") for point in report.stereo_curve)


def swung(bpm: float, seconds: float, swing: float) -> Float32:
    """Clicks on the beats, and softer ones between them."""
    sound = clicks(bpm, seconds)
    blip = clicks(30, 1)[: round(0.04 * RATE)] * 0.2
    for beat in range(int(seconds * bpm / 60) - 1):
        first = round((beat + swing) * 60 / bpm * RATE)
        sound[first : first + len(blip)] += blip
    return sound


def drums(bpm: float, frames: int) -> Float32:
    """A kick on the first beats, a snare on the others, and a hi-hat on every half beat."""
    rng = np.random.default_rng(3)
    sound = np.zeros((frames, 1), dtype=np.float32)
    times = np.arange(round(0.15 * RATE)) / RATE
    kick = 0.5 * np.sin(2 * np.pi * (50 + 60 * np.exp(-times * 40)) * times) * np.exp(-times * 25)
    snare = 0.3 * rng.normal(0, 1, len(times)) * np.exp(-times * 35)
    hat = 0.15 * np.diff(rng.normal(0, 1, len(times) + 1)) * np.exp(-times * 80)
    for step in range(int(frames / RATE * bpm / 30)):
        hit = hat + (0 if step % 2 else (kick if step % 4 == 0 else snare))
        first = round(step * 30 / bpm * RATE)
        room = min(len(hit), frames - first)
        sound[first : first + room, 0] += hit[:room].astype(np.float32)
    return sound
