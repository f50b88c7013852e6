"""PCM bytes and blocks: exact both ways; dither depends on the frame number only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segue_audio.blocks import Reblocker
from segue_audio.errors import InvalidSettings, NonFiniteAudio
from segue_audio.pcm import SampleFormat, check_finite, decode_pcm, encode_pcm, mono_mean, quantise

BLOCKS = hnp.arrays(np.float32, st.tuples(st.integers(0, 300), st.integers(1, 6)), elements=st.floats(-1, 1, width=32))


@given(BLOCKS)
def test_float_bytes_are_exact_both_ways(block: np.ndarray) -> None:
    back = decode_pcm(encode_pcm(block, SampleFormat.F32LE), SampleFormat.F32LE, block.shape[1])
    assert np.array_equal(back, block)


@given(BLOCKS)
def test_24_bit_is_within_half_a_step_and_stable(block: np.ndarray) -> None:
    once = decode_pcm(encode_pcm(block, SampleFormat.S24LE), SampleFormat.S24LE, block.shape[1])
    assert np.abs(once - np.minimum(block, 1 - 2.0**-23)).max(initial=0) <= 2.0**-24
    assert encode_pcm(once, SampleFormat.S24LE) == encode_pcm(block, SampleFormat.S24LE)


@given(BLOCKS, st.integers(0, 300), st.integers(0, 20_000))
@settings(max_examples=50)
def test_16_bit_does_not_depend_on_block_sizes(block: np.ndarray, cut: int, first_frame: int) -> None:
    whole = encode_pcm(block, SampleFormat.S16LE, first_frame=first_frame)
    cut = min(cut, len(block))
    head = encode_pcm(block[:cut], SampleFormat.S16LE, first_frame=first_frame)
    tail = encode_pcm(block[cut:], SampleFormat.S16LE, first_frame=first_frame + cut)
    assert head + tail == whole


def test_dither_makes_the_error_independent_of_the_signal() -> None:
    """With TPDF the mean error is zero and its power the same for every signal; without, small signals vanish."""
    for level in (0.0, 0.25, 0.5):
        constant = np.full((200_000, 1), level / 32768, dtype=np.float32)
        error = quantise(constant, 16)[:, 0] - level
        assert abs(error.mean()) < 0.005
        assert error.var() == pytest.approx(0.25, rel=0.02)


def test_dither_of_two_channels_differs() -> None:
    noise = quantise(np.zeros((50_000, 2), dtype=np.float32), 16)
    assert abs(np.mean(noise[:, 0] * noise[:, 1])) < 0.02 * np.var(noise)


def test_samples_beyond_full_scale_are_clipped_never_folded() -> None:
    loud = np.array([[1.5], [-1.5], [1.0], [-1.0]], dtype=np.float32)
    for kind in (SampleFormat.S16LE, SampleFormat.S24LE):
        back = decode_pcm(encode_pcm(loud, kind), kind, 1)
        assert np.all(np.sign(back) == np.sign(loud))
        assert np.abs(back).min() > 0.9999


def test_part_of_a_frame_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="whole number"):
        decode_pcm(bytes(7), SampleFormat.S16LE, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_error_names_the_first_bad_sample(bad: float) -> None:
    block = np.zeros((100, 2), dtype=np.float32)
    check_finite(block)
    block[41, 1] = bad
    block[70, 0] = -bad
    with pytest.raises(NonFiniteAudio, match="frame 1041, channel 1"):
        check_finite(block, first_frame=1000)


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 32))
def test_reblocking_keeps_every_frame_in_order(lengths: list[int], size: int) -> None:
    reblocker = Reblocker(size, 1)
    total = sum(lengths)
    stream = np.arange(total, dtype=np.float32)[:, None]
    out, position = [], 0
    for length in lengths:
        blocks = [block.copy() for block in reblocker.push(stream[position : position + length])]
        assert all(len(block) == size for block in blocks)
        out += blocks
        position += length
    out.append(reblocker.drain())
    assert np.array_equal(np.concatenate(out), stream)


@given(channels=st.integers(1, 6), seed=st.integers(0, 99))
def test_the_mean_of_the_channels_is_that_of_numpy(channels: int, seed: int) -> None:
    block = np.random.default_rng(seed).standard_normal((500, channels)).astype(np.float32)
    block[:9] = -0.0
    assert mono_mean(block).tobytes() == block.mean(axis=1, dtype=np.float32).tobytes()
