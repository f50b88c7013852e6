"""Sample-rate conversion and waveform peaks: exact length, right pitch, independent of block sizes."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue_audio.errors import InvalidSettings
from segue_audio.peaks import PeakCollector
from segue_audio.resample import StreamResampler, resample, resampled_frames

RATES = [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000]


@given(frames=st.integers(0, 20_000), cuts=st.lists(st.integers(0, 20_000), max_size=8), rates=st.sampled_from(
    [(a, b) for a in RATES for b in RATES]))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_length_is_exact_and_chunks_do_not_matter(frames: int, cuts: list[int], rates: tuple[int, int]) -> None:
    audio = np.random.default_rng(frames).standard_normal((frames, 2)).astype(np.float32)
    whole = resample(audio, *rates)
    assert len(whole) == resampled_frames(frames, *rates)
    stream = StreamResampler(*rates, channels=2)
    edges = [0, *sorted(min(cut, frames) for cut in cuts), frames]
    pieces = [stream.push(audio[a:b]) for a, b in itertools.pairwise(edges)]
    assert np.array_equal(np.concatenate([*pieces, stream.finish()]), whole)


@pytest.mark.parametrize("rate", [22_050, 44_100, 96_000])
def test_a_tone_keeps_pitch_level_and_position(rate: int) -> None:
    def tone(at_rate: int) -> np.ndarray:
        return (0.5 * np.sin(2 * np.pi * 1000 * np.arange(at_rate) / at_rate))[:, None].astype(np.float32)

    difference = resample(tone(48_000), 48_000, rate) - tone(rate)
    assert np.abs(difference[200:-200]).max() < 1e-5


def test_equal_rates_change_nothing() -> None:
    audio = np.random.default_rng(1).standard_normal((1000, 2)).astype(np.float32)
    assert np.array_equal(resample(audio, 48_000, 48_000), audio)


def test_absurd_rates_are_refused() -> None:
    with pytest.raises(InvalidSettings, match="4000000000"):
        StreamResampler(4_000_000_000, 48_000, 2)


@given(lengths=st.lists(st.integers(0, 700), max_size=20), point=st.sampled_from([1, 7, 64]))
@settings(deadline=None)
def test_peaks_include_every_extreme_for_any_chunks(lengths: list[int], point: int) -> None:
    total = sum(lengths)
    audio = np.random.default_rng(total).uniform(-1, 1, (total, 2)).astype(np.float32)
    peaks, once = PeakCollector(point, max_points=32), PeakCollector(point, max_points=32)
    once.push(audio)
    position = 0
    for length in lengths:
        peaks.push(audio[position : position + length])
        position += length
    assert np.array_equal(peaks.points(), once.points())
    assert len(peaks.points()) <= 33
    stretch = peaks.frames_per_point
    for number, (low, high) in enumerate(peaks.points()):
        part = audio[number * stretch : (number + 1) * stretch]
        assert (low, high) == (part.min(), part.max())


def test_the_imports_of_the_gateway_do_not_load_scipy() -> None:
    code = "import segue_audio.files, segue_audio.pcm, segue_audio.peaks, sys; sys.exit('scipy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
