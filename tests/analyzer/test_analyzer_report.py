"""The report of one call through a real channel: levels, silence, peaks, faults, and unusual but valid inputs."""

from __future__ import annotations

import numpy as np
import pyloudnorm
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.analyzer.analyzer_calls import RATE, Analyzer, chords, clicks, encoded, pcm_requests, running_analyzer, tone

from segue.analyzer.v1 import analyzer_pb2

KIND = analyzer_pb2.FaultKind


def kinds(report: analyzer_pb2.Report) -> list[int]:
    return [fault.kind for fault in report.faults]


@pytest.mark.parametrize("level", [0.03, 0.25, 0.9])
@pytest.mark.parametrize("channels", [1, 2])
async def test_loudness_agrees_with_an_independent_meter(level: float, channels: int) -> None:
    sound = tone(6, 997, level, channels=channels) + tone(6, 180, level / 10, channels=channels)
    peer = pyloudnorm.Meter(RATE, filter_class="DeMan").integrated_loudness(sound.astype(np.float64))
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(sound)
    assert report.loudness.integrated_lufs == pytest.approx(peer, abs=0.02)
    assert report.loudness.max_short_term_lufs == pytest.approx(peer, abs=0.1)
    assert report.loudness.range_lu == pytest.approx(0, abs=0.05)
    assert report.loudness.sample_peak_dbfs == pytest.approx(20 * np.log10(np.abs(sound).max()), abs=1e-4)
    assert report.loudness.true_peak_dbtp >= report.loudness.sample_peak_dbfs - 1e-6


@pytest.mark.parametrize("rate", [8_000, 48_000, 192_000])
async def test_the_bass_is_what_lies_below_150_hz(rate: int) -> None:
    low, high = tone(4, 60, 0.25, rate, channels=2), tone(4, 1_000, 0.25, rate, channels=2)
    async with running_analyzer() as analyzer:
        alone, both, none = [await analyzer.pcm(sound, rate) for sound in (low, low + high, high)]
        louder, short = await analyzer.pcm(low * 2, rate), await analyzer.pcm(low[: rate // 4], rate)
        corner = await analyzer.pcm(tone(4, 150, 0.25, rate, channels=2), rate)
        soft = await analyzer.pcm(tone(4, 30, 0.0005, rate, channels=2), rate)
    # 60 Hz lies below the low-pass, and the filter of loudness takes about 3 dB from it in both measurements.
    assert alone.bass_loudness_lufs == pytest.approx(alone.loudness.integrated_lufs, abs=0.02)
    assert both.bass_loudness_lufs == pytest.approx(alone.bass_loudness_lufs, abs=0.05)
    assert louder.bass_loudness_lufs == pytest.approx(alone.bass_loudness_lufs + 20 * np.log10(2), abs=0.01)
    assert corner.bass_loudness_lufs == pytest.approx(corner.loudness.integrated_lufs - 3.01, abs=0.02)
    # What is left of 1 kHz is its sudden beginning.
    assert none.bass_loudness_lufs < none.loudness.integrated_lufs - 45
    assert not short.HasField("bass_loudness_lufs")
    assert not soft.HasField("bass_loudness_lufs")  # below the absolute gate


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(chunk_frames=st.integers(1_000, 8_000), block=st.integers(9_000, 400_000))
async def test_the_report_does_not_depend_on_chunk_sizes(chunk_frames: int, block: int) -> None:
    sound = np.repeat(clicks(100, 8) + chords([(60, 64, 67), (65, 69, 72)], 4), 2, axis=1)
    content = encoded(sound, kind="WAV", subtype="FLOAT")
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(sound)
        assert await analyzer.pcm(sound, chunk_frames=chunk_frames) == report
        assert await analyzer.file(content, block) == report


async def test_silence_has_only_known_values() -> None:
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(np.zeros((RATE * 3, 2), dtype=np.float32))
    assert (report.frames, report.leading_silence_frames, report.trailing_silence_frames) == (RATE * 3, RATE * 3, 0)
    assert not report.loudness.HasField("integrated_lufs")
    assert not report.loudness.HasField("true_peak_dbtp")
    assert not report.HasField("bass_loudness_lufs")
    for name in ("tempo", "key", "stereo_correlation", "energy_correlation"):
        assert not report.HasField(name), name
    assert not report.chroma
    assert not report.faults
    assert set(report.peaks) == {0}


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 96_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
async def test_a_tenth_of_a_second_of_any_format_is_measured(rate: int, channels: int) -> None:
    sound = tone(0.1, 1_000, 0.5, rate, channels)
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(sound, rate)
    assert report.frames == len(sound)
    assert (report.format.sample_rate, report.format.channels) == (rate, channels)
    assert report.loudness.sample_peak_dbfs == pytest.approx(20 * np.log10(np.abs(sound).max()), abs=1e-3)
    assert not report.loudness.HasField("integrated_lufs")
    assert not report.HasField("tempo")
    assert report.brightness_hz > 0


async def test_noise_has_neither_tempo_nor_a_sure_key() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, (RATE * 20, 1)).astype(np.float32)
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(noise)
    assert not report.HasField("tempo") or report.tempo.confidence < 0.3
    assert not report.HasField("key") or report.key.confidence < 0.3


async def test_silence_at_the_ends_is_measured_to_the_frame() -> None:
    sound = np.zeros((RATE * 4, 2), dtype=np.float32)
    sound[12_345 : RATE * 3] = 0.2
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(sound)
    assert (report.leading_silence_frames, report.trailing_silence_frames) == (12_345, RATE)


async def test_stereo_correlation() -> None:
    rng = np.random.default_rng(5)
    left, right = rng.normal(0, 0.1, (2, RATE, 1)).astype(np.float32)
    async with running_analyzer() as analyzer:
        for other, expected in ((left, 1.0), (-left, -1.0), (right, 0.0)):
            report = await analyzer.pcm(np.concatenate([left, other], axis=1))
            assert report.stereo_correlation == pytest.approx(expected, abs=0.02)
        assert not (await analyzer.pcm(left)).HasField("stereo_correlation")


async def test_peaks_follow_the_waveform() -> None:
    sound = tone(2, 50, 0.5) * np.linspace(0, 1, 2 * RATE, dtype=np.float32)[:, None]
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(sound)
    pairs = np.frombuffer(report.peaks, np.int8).reshape(-1, 2)
    assert len(pairs) == pytest.approx(2 * report.peaks_per_second, abs=1)
    assert pairs.max() == pytest.approx(0.5 * 127, abs=1)
    assert pairs.min() == pytest.approx(-0.5 * 127, abs=1)
    assert abs(int(pairs[:10].max())) <= 4


async def test_good_music_has_no_faults() -> None:
    sound = clicks(120, 10, offbeat=0.4) + chords([(57, 60, 64), (53, 57, 60)] * 2, 2.5)
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(sound)
    assert kinds(report) == []


async def test_faults_are_found_where_they_are() -> None:
    sound = np.repeat(tone(8, 220, 0.3), 2, axis=1)
    sound[RATE : RATE + 40] = 1.0
    sound[2 * RATE : 2 * RATE + 5_000, 0] = np.nan
    sound[4 * RATE : round(5.5 * RATE)] = 0.0
    sound[7 * RATE, 1] += 0.6
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(sound)
    found = {fault.kind: fault for fault in report.faults}
    assert found[KIND.FAULT_KIND_CLIPPING].first_frame == pytest.approx(RATE, abs=2)
    assert found[KIND.FAULT_KIND_CLIPPING].frames == pytest.approx(40, abs=3)
    assert (found[KIND.FAULT_KIND_NOT_FINITE].first_frame, found[KIND.FAULT_KIND_NOT_FINITE].frames) == (96_000, 5_000)
    assert found[KIND.FAULT_KIND_SILENCE].first_frame == pytest.approx(4 * RATE, abs=20)
    assert found[KIND.FAULT_KIND_SILENCE].frames == pytest.approx(1.5 * RATE, abs=40)
    clicked = [fault.first_frame for fault in report.faults if fault.kind == KIND.FAULT_KIND_CLICK]
    assert any(abs(frame - 7 * RATE) <= 2 for frame in clicked)
    assert KIND.FAULT_KIND_DC not in found


@pytest.mark.parametrize(("count", "gap_s", "faults"), [(4, 0.7, 4), (5, 0.7, 1), (150, 0.2, 1), (5, 5.5, 5)])
async def test_a_crackle_is_one_fault_with_the_number_of_clicks(count: int, gap_s: float, faults: int) -> None:
    places = [round((1 + number * gap_s) * RATE) for number in range(count)]
    sound = tone(2 + count * gap_s, 220, 0.05)
    sound[places] += 0.6
    async with running_analyzer() as analyzer:
        found = (await analyzer.pcm(sound)).faults
    assert [fault.kind for fault in found] == [KIND.FAULT_KIND_CLICK] * faults
    assert found[0].first_frame == pytest.approx(places[0], abs=2)
    assert found[-1].first_frame + found[-1].frames == pytest.approx(places[-1], abs=2)
    if faults == 1:
        assert found[0].text.startswith(f"{count} clicks in ")


async def test_an_offset_is_found_and_a_slow_wave_is_not_one() -> None:
    noise = np.random.default_rng(2).normal(0, 0.1, (RATE * 5, 1)).astype(np.float32)
    async with running_analyzer() as analyzer:
        assert kinds(await analyzer.pcm(noise + np.float32(0.01))) == [KIND.FAULT_KIND_DC]
        assert kinds(await analyzer.pcm(noise)) == []
        assert kinds(await analyzer.pcm(tone(5, 1.5, 0.5))) == []


async def test_progress_grows_and_the_report_comes_last() -> None:
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(np.repeat(tone(60), 2, axis=1))
        assert analyzer.progress == sorted(analyzer.progress)
        assert all(0 < done <= report.frames for done in analyzer.progress)


async def test_every_kind_of_file_is_read() -> None:
    sound = np.repeat(tone(5, 440, 0.2), 2, axis=1)
    async with running_analyzer() as analyzer:
        for kind in ("WAV", "FLAC", "OGG", "MP3", "AIFF", "CAF"):
            report = await analyzer.file(encoded(sound, kind=kind))
            assert report.loudness.integrated_lufs == pytest.approx(-14.7, abs=0.3), kind
            assert report.frames == pytest.approx(5 * RATE, abs=3_000)


async def test_many_calls_at_once_do_not_mix() -> None:
    import asyncio

    async with running_analyzer() as analyzer:

        async def one(level: float) -> float:
            return (await Analyzer_of(analyzer).send(pcm_requests(tone(2, 1_000, level)))).loudness.sample_peak_dbfs

        levels = [0.05 * (number + 1) for number in range(8)]
        peaks = await asyncio.gather(*map(one, levels))
    assert peaks == pytest.approx([20 * np.log10(level) for level in levels], abs=0.01)


def Analyzer_of(analyzer: Analyzer) -> Analyzer:  # noqa: N802 - reads as the class it makes another one of
    other = object.__new__(Analyzer)
    other.stub, other.progress = analyzer.stub, []
    return other
