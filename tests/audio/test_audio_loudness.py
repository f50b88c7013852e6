"""The loudness meter against the synthetic cases of EBU Tech 3341 and 3342, and against other meters."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pyloudnorm
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from segue_audio.biquads import sosfilt
from segue_audio.errors import InvalidSettings
from segue_audio.loudness import KWeightedPower, LoudnessMeter, k_weighting, low_pass, warm
from segue_audio.truepeak import TruePeakMeter

if TYPE_CHECKING:
    from pathlib import Path

    from segue_audio.loudness import Loudness

RATE = 48_000
Part = tuple[float | None, float]


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    warm()


def tone(parts: list[Part], rate: int = RATE, hz: float = 1000.0, channels: int = 2) -> np.ndarray:
    """A sine with a peak level in dBFS (None: silence) for each part."""
    levels = [np.full(round(s * rate), 0.0 if db is None else 10 ** (db / 20)) for db, s in parts]
    level = np.concatenate(levels)
    wave = level * np.sin(2 * np.pi * hz * np.arange(len(level)) / rate)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def measure(audio: np.ndarray, rate: int = RATE) -> Loudness:
    meter = LoudnessMeter(rate, audio.shape[1])
    meter.push(audio)
    return meter.result()


# EBU Tech 3341 table 1, cases 1 to 5 and 9 to 14: levels in dBFS and seconds.
@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(-23, 20)], -23),
        ([(-33, 20)], -33),
        ([(-36, 10), (-23, 60), (-36, 10)], -23),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23),
    ],
)
def test_tech_3341_integrated(parts: list[Part], expected: float, rate: int) -> None:
    assert measure(tone(parts, rate), rate).integrated_lufs == pytest.approx(expected, abs=0.1)


def test_tech_3341_case_6_surround() -> None:
    channels = [tone([(db, 20)], channels=1) for db in (-28, -28, -24, -30, -30)]
    five = np.concatenate(channels, axis=1)
    assert measure(five).integrated_lufs == pytest.approx(-23, abs=0.1)
    loud_lfe = tone([(-3, 20)], hz=50, channels=1)
    with_lfe = np.concatenate([five[:, :3], loud_lfe, five[:, 3:]], axis=1)
    assert measure(with_lfe).integrated_lufs == pytest.approx(-23, abs=0.1)


def test_tech_3341_case_9_short_term_stays_at_its_level() -> None:
    audio = tone([(-20, 1.34), (-30, 1.66)] * 5)
    meter = LoudnessMeter(RATE, 2)
    for start in range(0, len(audio), 4_800):
        meter.push(audio[start : start + 4_800])
        if start >= 3 * RATE:
            assert meter.short_term_lufs == pytest.approx(-23, abs=0.1)


def test_tech_3341_case_12_momentary_stays_at_its_level() -> None:
    audio = tone([(-20, 0.18), (-30, 0.22)] * 25)
    meter = LoudnessMeter(RATE, 2)
    for start in range(0, len(audio), 480):
        meter.push(audio[start : start + 480])
        if start >= RATE:
            assert meter.momentary_lufs == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize("index", range(20))
def test_tech_3341_cases_10_and_13_the_loudest_window_is_found(index: int) -> None:
    short = measure(tone([(None, index * 0.15), (-23, 3), (None, 1)]))
    assert short.max_short_term_lufs == pytest.approx(-23, abs=0.1)
    momentary = measure(tone([(None, index * 0.02), (-23, 0.4), (None, 1)]))
    assert momentary.max_momentary_lufs == pytest.approx(-23, abs=0.1)


def test_tech_3341_cases_11_and_14_live_maxima_follow_the_level() -> None:
    for seconds, step, read in ((3.0, 0.15, "short_term_lufs"), (0.4, 0.02, "momentary_lufs")):
        meter = LoudnessMeter(RATE, 2)
        for index in range(20):
            level = -38 + index
            audio = tone([(None, index * step), (level, seconds), (None, seconds - index * step)])
            highest = -np.inf
            for start in range(0, len(audio), 480):
                meter.push(audio[start : start + 480])
                highest = max(highest, getattr(meter, read) or -np.inf)
            assert highest == pytest.approx(level, abs=0.1)


# Tech 3341 cases 15 to 19: frequency as a part of the rate, phase in degrees, amplitude, expected dBTP (+0.2, -0.4).
@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize(
    ("divisor", "phase", "amplitude", "expected"),
    [(4, 0, 0.5, -6.0), (4, 45, 0.5, -6.0), (6, 60, 0.5, -6.0), (8, 67.5, 0.5, -6.0), (4, 45, 1.41, 3.0)],
)
def test_tech_3341_true_peak_of_sines(divisor: int, phase: float, amplitude: float, expected: float, rate: int) -> None:
    turns = np.arange(rate) / divisor + phase / 360
    # The tone fades in and out: a sine that is cut has higher peaks than the sine.
    fade = np.minimum(1, np.minimum(np.arange(rate), np.arange(rate)[::-1]) / (0.1 * rate))
    audio = (amplitude * fade * np.sin(2 * np.pi * turns)).astype(np.float32)
    found = measure(np.stack([audio, audio], axis=1), rate).true_peak_dbtp
    assert found is not None
    assert expected - 0.4 <= found <= expected + 0.2


@pytest.mark.parametrize("offset", range(4))
def test_tech_3341_cases_20_to_23_a_peak_between_samples(offset: int) -> None:
    """A burst made at four times the rate, at 0 dBTP, decimated with every offset."""
    rate = 4 * RATE
    time = (np.arange(rate) - rate / 2) / rate
    burst = np.exp(-((time / 0.002) ** 2)) * np.cos(2 * np.pi * (RATE / 6) * time)
    audio = burst[offset::4].astype(np.float32)
    found = measure(audio[:, None]).true_peak_dbtp
    assert found is not None
    assert -0.4 <= found <= 0.2


# EBU Tech 3342 section 4, cases 1 to 4.
@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(-20, 20), (-30, 20)], 10),
        ([(-20, 20), (-15, 20)], 5),
        ([(-40, 20), (-20, 20)], 20),
        ([(-50, 20), (-35, 20), (-20, 20), (-35, 20), (-50, 20)], 15),
    ],
)
def test_tech_3342_loudness_range(parts: list[Part], expected: float) -> None:
    assert measure(tone(parts)).range_lu == pytest.approx(expected, abs=1.0)


@given(
    lengths=st.lists(st.integers(1, 60_000), min_size=1, max_size=12),
    channels=st.integers(1, 6),
    rate=st.sampled_from([8_000, 11_025, 48_000]),
)
@settings(max_examples=25, deadline=None)
def test_any_block_size_gives_exactly_the_same(lengths: list[int], channels: int, rate: int) -> None:
    audio = np.random.default_rng(sum(lengths)).normal(0, 0.1, (sum(lengths), channels)).astype(np.float32)
    streamed = LoudnessMeter(rate, channels)
    position = 0
    for length in lengths:
        streamed.push(audio[position : position + length])
        streamed.result()
        position += length
    assert streamed.result() == measure(audio, rate)


def test_one_frame_at_a_time_gives_exactly_the_same() -> None:
    audio = np.random.default_rng(1).normal(0, 0.1, (25_000, 2)).astype(np.float32)
    streamed = LoudnessMeter(RATE, 2)
    for frame in range(len(audio)):
        streamed.push(audio[frame : frame + 1])
    assert streamed.result() == measure(audio)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000, 192_000])
def test_every_rate_reads_the_same_loudness(rate: int) -> None:
    assert measure(tone([(-23, 5)], rate), rate).integrated_lufs == pytest.approx(-23, abs=0.1)


def test_silence_and_short_audio_give_no_number() -> None:
    silent = measure(np.zeros((RATE * 4, 2), dtype=np.float32))
    assert (silent.integrated_lufs, silent.range_lu, silent.true_peak_dbtp) == (None, None, None)
    short = measure(tone([(-23, 0.3)]))
    assert short.integrated_lufs is None
    assert short.true_peak_dbtp == pytest.approx(-23, abs=0.1)


def test_undefined_measurements_are_refused() -> None:
    with pytest.raises(InvalidSettings, match="7 channels"):
        LoudnessMeter(RATE, 7)
    with pytest.raises(InvalidSettings, match="4000"):
        LoudnessMeter(4_000, 2)


@pytest.mark.parametrize("seed", range(5))
def test_pyloudnorm_agrees(seed: int) -> None:
    rng = np.random.default_rng(seed)
    loudness = np.repeat(10 ** (rng.uniform(-40, -6, 20) / 20), RATE)
    audio = (loudness[:, None] * rng.normal(0, 0.3, (20 * RATE, 2))).astype(np.float32)
    expected = pyloudnorm.Meter(RATE, filter_class="DeMan").integrated_loudness(audio.astype(np.float64))
    assert measure(audio).integrated_lufs == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize("seed", range(3))
def test_true_peak_agrees_with_a_finer_interpolation(seed: int) -> None:
    from scipy.signal import butter, resample_poly, sosfilt

    rng = np.random.default_rng(seed)
    # Up to 0.4 of the rate: a little above, four values a sample lie 0.45 dB beside the peak at worst.
    audio = sosfilt(butter(8, 0.8, output="sos"), rng.normal(0, 0.1, RATE)).astype(np.float32)
    meter = TruePeakMeter(RATE, 1)
    meter.push(audio[None, :])
    expected = np.abs(resample_poly(audio.astype(np.float64), 32, 1, window=("kaiser", 12.0))).max()
    assert -0.45 < 20 * np.log10(meter.peaks()[0] / expected) < 0.1


@pytest.mark.reference("ffmpeg")
def test_ffmpeg_agrees(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    level = np.repeat(10 ** (rng.uniform(-30, -6, 40) / 20), RATE)
    audio = (level[:, None] * rng.uniform(-0.9, 0.9, (40 * RATE, 2))).astype(np.float32)
    path = tmp_path / "noise.wav"
    soundfile.write(path, audio, RATE, subtype="FLOAT")
    asked = ["ffmpeg", "-hide_banner", "-nostats", "-i", str(path), "-af", "ebur128=peak=true", "-f", "null", "-"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stderr.rpartition("Summary:")[2]
    shown = [float(x) for x in re.findall(r"(?:I|LRA|Peak):\s+(-?[\d.]+)", said)]
    ours = measure(audio)
    assert ours.integrated_lufs == pytest.approx(shown[0], abs=0.1)
    assert ours.range_lu == pytest.approx(shown[1], abs=0.2)
    # White noise up to the Nyquist frequency: interpolators differ there by some tenths.
    assert ours.true_peak_dbtp == pytest.approx(shown[2], abs=0.4)


def test_the_filter_memory_becomes_zero_in_silence_without_changing_a_bit() -> None:
    rng = np.random.default_rng(1)
    sound = rng.normal(size=(2, RATE)) * 0.1
    piece = np.concatenate([sound, np.zeros((2, 6 * RATE)), sound], axis=1)
    cut, whole = KWeightedPower(RATE, 2), KWeightedPower(RATE, 2)
    powers = [cut.push(piece[:, first : first + 8_000]) for first in range(0, 7 * RATE, 8_000)]
    # Otherwise numbers near 1e-321 remain, which make it thirty times as slow.
    assert not cut._memory.any()  # noqa: SLF001 - otherwise visible only in the time
    powers.append(cut.push(piece[:, 7 * RATE :]))
    assert np.array_equal(np.concatenate(powers), whole.push(piece))


@pytest.mark.parametrize("rate", [8_000, 10_100, 22_050, 44_100, 48_000, 192_000])
def test_the_bass_from_few_samples_is_that_of_the_whole_filter(rate: int) -> None:
    rng = np.random.default_rng(1)
    time_s = np.arange(2 * rate) / rate
    tones = 0.3 * np.sin(2 * np.pi * 60 * time_s) + np.sin(2 * np.pi * 400 * time_s)
    sound = np.stack([rng.standard_normal(len(time_s)), tones])
    sections = np.concatenate([k_weighting(rate), low_pass(rate, 150.0)])
    filtered, _ = sosfilt(sections, sound, np.zeros((len(sections), 2, 2)))
    meter = KWeightedPower(rate, 2, bass_below_hz=150.0)
    for first in range(0, len(time_s), 7_001):
        meter.push(sound[:, first : first + 7_001])
    frames = len(meter.bass_hops) * meter.hop_frames
    expected = (filtered[:, :frames] ** 2).mean(axis=1).sum()
    assert np.mean(meter.bass_hops) == pytest.approx(expected, rel=4e-4)
