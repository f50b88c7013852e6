"""The limiter with extreme signals; the same bytes for any chunk sizes and for many streams at once."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.fft import next_fast_len
from tests.mixer.mixer_server import RATE, Part, band, mastered, mix_requests, mixed

from segue.mixer.v1 import mixer_pb2
from segue_mixer.master.measure_pass import MeasurePass
from segue_mixer.master.presets import Preset, complete
from segue_mixer.master.render_pass import RenderPass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.mixer.mixer_server import Sound

    from segue.mixer.v1 import mixer_pb2_grpc

    Stub = mixer_pb2_grpc.MixerServiceAsyncStub

CEILING_DBTP = -1.0
LOOKAHEAD_MS = 5.0


def true_peak_dbtp(sound: Sound, factor: int = 8) -> float:
    """Oversample by the spectrum, independently of the limiter, with silence on both sides."""
    frames = next_fast_len(len(sound) + 512, real=True)
    padded = np.pad(sound.astype(np.float64), ((256, frames - len(sound) - 256), (0, 0)))
    fine = np.fft.irfft(np.fft.rfft(padded, axis=0), frames * factor, axis=0) * factor
    return 20 * float(np.log10(max(np.abs(fine).max(), 1e-12)))


def nasty(seed: int) -> Sound:
    """One of eight extreme signals, 0.3 s, mono, up to +30 dBFS."""
    rng = np.random.default_rng(seed)
    frames = RATE * 3 // 10
    time = np.arange(frames)
    level = 10 ** (rng.uniform(-6, 30) / 20)
    kind = seed % 8
    if kind == 0:  # clicks alone in silence
        sound = np.zeros(frames)
        sound[rng.integers(0, frames, 20)] = rng.choice([-1, 1], 20)
    elif kind == 1:  # the worst phase between two samples
        sound = np.sin(2 * np.pi * (time / 4 + 1 / 8))
    elif kind == 2:  # a square that turns at odd places
        sound = np.sign(np.sin(2 * np.pi * rng.uniform(20, 5_000) / RATE * time + rng.uniform(0, 6)))
        sound = np.convolve(sound, np.hanning(5) / 2, "same")
    elif kind == 3:  # bursts
        sound = rng.normal(0, 0.3, frames) * (np.sin(2 * np.pi * rng.uniform(3, 60) / RATE * time) > 0.7)
        sound = np.convolve(sound, np.hanning(7) / 3, "same")
    elif kind == 4:  # a sweep to the top
        sound = np.sin(2 * np.pi * np.cumsum(np.linspace(50, 0.44 * RATE, frames)) / RATE)
    elif kind == 5:  # a constant that jumps
        sound = np.repeat(rng.uniform(-1, 1, 30), frames // 30 + 1)[:frames]
        sound = np.convolve(sound, np.hanning(9) / 4, "same")
    elif kind == 6:  # dense noise below the very top
        sound = np.fft.irfft(
            np.fft.rfft(rng.normal(0, 0.3, frames)) * (np.arange(frames // 2 + 1) < 0.44 * frames), frames
        )
    else:  # tones that meet now and then
        sound = sum(np.sin(2 * np.pi * rng.uniform(30, 18_000) / RATE * time + rng.uniform(0, 6)) for _ in range(6)) / 6
    return np.asarray(level * sound[:, None], np.float32)


def limited(sound: Sound, sizes: Iterable[int] = ()) -> Sound:
    """The limiter alone, with blocks of the given sizes and then the rest."""
    settings = complete(Preset.NONE, {"ceiling_dbtp": CEILING_DBTP, "lookahead_ms": LOOKAHEAD_MS}, sound.shape[1])
    return both_passes(sound, settings, tuple(sizes))


def both_passes(sound: Sound, settings: object, sizes: tuple[int, ...] = ()) -> Sound:
    borders = [0, *np.cumsum(sizes).tolist(), len(sound)]
    pieces = [sound[first:last] for first, last in pairwise(borders) if first < len(sound)]
    measuring = MeasurePass(settings, (), RATE, sound.shape[1])  # type: ignore[arg-type]  # MasterSettings
    try:
        for piece in pieces:
            measuring.push(piece)
        for _ in measuring.read_again():
            pass
        rendering = RenderPass(measuring.measurement(), (), RATE, sound.shape[1])
    finally:
        measuring.close()
    made = [ready for piece in pieces for ready in rendering.push(piece)]
    return np.concatenate([*made, *rendering.finish()])


@pytest.mark.parametrize(
    "seeds", [range(48), pytest.param(range(1000), marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_no_signal_exceeds_the_ceiling_and_the_gain_never_jumps(seeds: range) -> None:
    for seed in seeds:
        sound = nasty(seed)
        made = limited(sound)
        assert true_peak_dbtp(made) <= CEILING_DBTP, seed
        # The limiter applies a gain only: it changes no faster than the look-ahead allows, and never amplifies.
        heard = np.abs(sound[:, 0]) > 1e-3 * np.abs(sound).max()
        gain_db = 20 * np.log10(np.maximum(np.abs(made[heard, 0] / sound[heard, 0]), 1e-9))
        assert gain_db.max() < 0.01, seed
        frames = np.flatnonzero(heard)
        near = np.diff(frames) == 1
        steepest = np.abs(np.diff(gain_db))[near].max(initial=0.0)
        # Two boxes of half the look-ahead: at most all of the reduction within one box, for each of two stages.
        box_frames = LOOKAHEAD_MS / 2 / 1000 * RATE
        assert steepest <= 2 * (0.1 - gain_db.min()) / box_frames + 0.01, seed


@pytest.mark.parametrize("sizes", [[1] * 3_000, [7, 1, 16_384, 1, 16_383], [1_000_000], [100_003, 1, 65_536]])
def test_the_master_is_the_same_for_blocks_of_1_to_a_million_frames(sizes: list[int]) -> None:
    sound = np.tile(band(4, 3), (6, 1))[:1_100_000]
    if len(sizes) > 100:
        sound = sound[:60_000]
    settings = complete(Preset.STREAMING, {}, 2)
    assert np.array_equal(both_passes(sound, settings), both_passes(sound, settings, tuple(sizes)))


async def test_ten_streams_at_once_equal_one(stub: Stub) -> None:
    sounds = [band(1.5, seed) for seed in range(5)]
    parts = [[Part("a", sound[:40_000], sound[40_000:50_000]), Part("b", sound[:50_000])] for sound in sounds]
    alone = [(await mastered(stub, sound)).content for sound in sounds]
    drafts = [(await mixed(stub, mix_requests(part))).sound().tobytes() for part in parts]
    masters, mixes = await asyncio.gather(
        asyncio.gather(*(mastered(stub, sound) for sound in sounds)),
        asyncio.gather(*(mixed(stub, mix_requests(part)) for part in parts)),
    )
    assert [made.content for made in masters] == alone
    assert [draft.sound().tobytes() for draft in mixes] == drafts


async def test_a_cancelled_stream_does_not_affect_later_calls(stub: Stub) -> None:
    sound = band(1, 1)
    before = (await mastered(stub, sound)).content
    for requests in (mix_requests([Part("a", sound)]), iter([mixer_pb2.MixRequest()])):
        call = stub.Mix(iter(list(requests)[:4]))
        with pytest.raises(Exception, match=r".*"):
            async for _ in call:
                pass
    call = stub.Mix(iter(list(mix_requests([Part("a", sound)]))[:3]))
    call.cancel()
    assert (await mastered(stub, sound)).content == before


async def test_offset_silence_and_one_frame_are_mixed_unchanged(stub: Stub) -> None:
    offset = np.full((RATE, 2), 0.5, np.float32)
    parts = [
        Part("dc", offset, hard=True),
        Part("one", np.full((1, 2), 0.25, np.float32), hard=True),
        Part("silent", np.zeros((RATE, 2), np.float32), hard=True),
    ]
    draft = await mixed(stub, mix_requests(parts))
    sound = draft.sound()
    assert len(sound) == 2 * RATE + 1
    assert np.array_equal(sound[100:RATE], offset[100:])
    assert np.abs(sound).max() <= 0.75 + 1e-6
    assert not sound[-RATE // 2 :].any()
    # The ringing after the end of the offset is short.
    assert draft.mixed[2].loudness.integrated_lufs < -25


async def test_8_khz_mono_beside_96_khz_stereo(stub: Stub) -> None:
    low, high = band(2, 1, rate=8_000, channels=1), band(2, 2, rate=96_000)
    parts = [
        Part("low", low[:8_000], low[8_000:12_000], frames=RATE, rate=8_000),
        Part("high", high[:96_000], frames=RATE, rate=96_000),
    ]
    draft = await mixed(stub, mix_requests(parts))
    assert draft.sound().shape == (2 * RATE, 2)
    assert np.abs(draft.sound()).max() < 2
    assert not draft.mixed[1].join.click
