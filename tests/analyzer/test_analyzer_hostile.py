"""Invalid or deceptive files are refused with INVALID_ARGUMENT, never INTERNAL."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.analyzer.analyzer_calls import (
    RATE,
    audio_chunk,
    encoded,
    file_requests,
    pcm_requests,
    running_analyzer,
    tone,
)

from segue.analyzer.v1 import analyzer_pb2
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue.audio.v1 import audio_pb2

MAGICS = (b"RIFF\x00\x00\x01\x00WAVE", b"fLaC", b"OggS", b"ID3\x04", b"\xff\xfb\x90", b"FORM", b"caff", b"RF64")
SOUND = tone(1, 440, 0.2, channels=2)
FLAC = encoded(SOUND)
WAV = encoded(SOUND, kind="WAV", subtype="FLOAT")


def lying_flac(frames: int, rate: int = RATE, channels: int = 2) -> bytes:
    """A FLAC file whose header claims another length, rate and number of channels."""
    packed = (rate << 44) | ((channels - 1) << 41) | (15 << 36) | frames
    return FLAC[:18] + packed.to_bytes(8, "big") + FLAC[26:]


def wav_with_samples(samples: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> bytes:
    return encoded(samples, kind="WAV", subtype="FLOAT")


NAN = SOUND.copy()
NAN[777, 1] = np.nan
INF = SOUND.copy()
INF[5, 0] = np.inf


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"RIFF", id="four bytes"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(5_000), id="picture"),
        pytest.param(bytes(100_000), id="zeros"),
        pytest.param(FLAC[:60], id="flac head only"),
        pytest.param(FLAC[: len(FLAC) // 2], id="flac cut in half"),
        pytest.param(WAV[:30], id="wav head cut"),
        pytest.param(WAV[:44], id="wav without samples"),
        pytest.param(lying_flac((1 << 36) - 1), id="flac that claims a year"),
        pytest.param(lying_flac(10_000_000), id="flac that claims more than it has"),
        pytest.param(lying_flac(RATE, rate=655_350), id="flac with an absurd rate"),
        pytest.param(WAV[:22] + struct.pack("<H", 5_000) + WAV[24:], id="wav with 5000 channels"),
        pytest.param(WAV[:24] + struct.pack("<I", 1) + WAV[28:], id="wav of one frame a second"),
        pytest.param(wav_with_samples(NAN), id="wav with NaN"),
        pytest.param(wav_with_samples(INF), id="wav with Inf"),
        pytest.param(encoded(np.zeros((RATE, 8), np.int16), kind="WAV"), id="eight channels"),
        *(pytest.param(magic + bytes(range(256)) * 400, id=f"noise after {magic[:4]!r}") for magic in MAGICS),
    ],
)
async def test_files_that_are_not_audio_are_refused(content: bytes) -> None:
    async with running_analyzer() as analyzer:
        with pytest.raises(errors.InvalidAudio) as refused:
            await analyzer.file(content)
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "/tmp" not in refused.value.message  # noqa: S108 - what a message must not tell


async def test_a_small_file_that_decodes_to_hours_is_refused_or_measured_in_little_memory() -> None:
    claimed = lying_flac(4 * 3600 * RATE)
    async with running_analyzer() as analyzer:
        with pytest.raises(errors.InvalidAudio, match="14400 s"):
            await analyzer.file(claimed)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.integers(0, len(FLAC) - 1), bits=st.integers(1, 255), end=st.integers(0, len(FLAC)))
async def test_a_damaged_file_is_measured_or_refused_and_nothing_else(place: int, bits: int, end: int) -> None:
    damaged = bytearray(FLAC[: max(end, place + 1)])
    damaged[place] ^= bits
    async with running_analyzer() as analyzer:
        try:
            report = await analyzer.file(bytes(damaged))
        except errors.InvalidAudio:
            return
    assert report.frames > 0


async def test_a_file_that_is_not_audio_is_refused_before_it_has_arrived() -> None:
    async def unfinished() -> AsyncIterator[analyzer_pb2.AnalyzeRequest]:
        for request in file_requests(b"not a sound at all" * 2_000, 20_000):
            yield request
        await asyncio.Event().wait()

    async with running_analyzer() as analyzer:
        with pytest.raises(grpc.aio.AioRpcError, match="not readable audio"):
            await anext(aiter(analyzer.stub.Analyze(unfinished(), timeout=60)))


async def test_a_client_that_is_still_sending_gets_the_error() -> None:
    async with running_analyzer() as analyzer:
        for _ in range(5):
            with pytest.raises(errors.InvalidAudio):
                await analyzer.file(b"not a sound at all" * 500_000, 200_000)


def bad_chunk(**changes: object) -> audio_pb2.AudioChunk:
    chunk = audio_chunk(SOUND[:1000], RATE, 0)
    for name, value in changes.items():
        setattr(chunk, name, value)
    return chunk


@pytest.mark.parametrize(
    ("chunk", "error"),
    [
        (bad_chunk(first_frame=5), errors.OutOfOrder),
        (bad_chunk(frames=999), errors.InvalidAudio),
        (bad_chunk(crc32c=1), errors.InvalidAudio),
        (bad_chunk(data=b"123"), errors.InvalidAudio),
        (audio_chunk(SOUND[:1000, :1], RATE, 0), errors.InvalidAudio),
        (audio_chunk(SOUND[:1000], 44_100, 0), errors.InvalidAudio),
    ],
)
async def test_chunks_that_do_not_fit_are_refused(chunk: audio_pb2.AudioChunk, error: type[errors.SegueError]) -> None:
    start = next(pcm_requests(SOUND))
    async with running_analyzer() as analyzer:
        with pytest.raises(error):
            await analyzer.send([start, analyzer_pb2.AnalyzeRequest(audio=chunk)])


async def test_messages_in_the_wrong_place_are_refused() -> None:
    start, audio = list(pcm_requests(SOUND))[:2]
    file_start, file = list(file_requests(FLAC))[:2]
    late = analyzer_pb2.AnalyzeRequest(file=analyzer_pb2.FileBytes(offset=3, data=FLAC))
    async with running_analyzer() as analyzer:
        for requests in ([], [audio], [file], [start, start], [start, audio, file], [file_start, audio]):
            with pytest.raises(errors.OutOfOrder):
                await analyzer.send(requests)
        with pytest.raises(errors.OutOfOrder):
            await analyzer.send([file_start, late])
        with pytest.raises(errors.InvalidAudio, match="nothing to measure"):
            await analyzer.send([start])


async def test_sections_must_lie_within_the_audio_and_not_pile_up() -> None:
    async with running_analyzer() as analyzer:
        with pytest.raises(errors.InvalidField, match=r"sections\[1\]"):
            await analyzer.pcm(SOUND, sections=[("a", 0, 10_000), ("b", 40_000, 8_001)])
        with pytest.raises(errors.InvalidField, match="overlap"):
            await analyzer.pcm(SOUND, sections=[(f"s{number}", 0, 10_000) for number in range(9)])
