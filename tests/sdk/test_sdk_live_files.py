"""Files that grow while the piece is made, with interruptions and rewinds."""

from __future__ import annotations

import asyncio
import wave
from typing import TYPE_CHECKING

import google_crc32c
import numpy as np
from tests.sdk.fake_composer import CHUNK, NAME, RATE, Break, FakeComposer, Piece, files_in, is_audio, serving, size_of
from tests.sdk.stream_checks import TIME_LIMIT_S, client_of

from segue.audio.v1 import audio_pb2
from segue_client import Client

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.sdk.fake_composer import Message, Tampering


def cut_often(cuts: int) -> Tampering:
    def tamper(number: int, messages: list[Message]) -> Iterable[Message | Break]:
        return [*messages[:3], Break()] if number <= cuts else messages

    return tamper


async def test_a_live_file_grows_and_a_rewind_truncates_it(tmp_path: Path) -> None:
    piece = Piece(rewinds=True)
    target = tmp_path / "draft.wav"
    for number_of_cuts in (0, 5):
        fake = FakeComposer(piece, cut_often(number_of_cuts))
        async with serving(fake) as address, client_of(address) as client:
            await client.compose("calm piano").save_live(target, replace=True)
        content = target.read_bytes()
        assert content[44:] == piece.draft.tobytes()
        assert int.from_bytes(content[4:8], "little") == len(content) - 8
        assert int.from_bytes(content[40:44], "little") == len(content) - 44


async def test_a_rewind_truncates_the_file_at_once(tmp_path: Path) -> None:
    piece = Piece(rewinds=True)
    place = next(
        index for index, each in enumerate(piece.messages) if each.event.WhichOneof("event") == "draft_rewound"
    )
    fake = FakeComposer(piece, lambda _number, messages: [*messages[: place + 1], Break(silent=True)])
    growing = tmp_path / "draft.wav.part"
    async with serving(fake) as address, Client(address) as client, asyncio.timeout(TIME_LIMIT_S):
        saving = asyncio.create_task(client.compose("calm piano").save_live(tmp_path / "draft.wav"))
        while size_of(growing) != 44 + CHUNK * 8:  # noqa: ASYNC110 - a file has no event to wait for
            await asyncio.sleep(0.01)
        saving.cancel()
        await asyncio.gather(saving, return_exceptions=True)
    assert files_in(tmp_path) == []


async def test_a_live_file_of_integers_opens_as_a_wav(tmp_path: Path) -> None:
    target = tmp_path / "draft.wav"
    piece = Piece()
    for message in piece.messages:
        if is_audio(message):
            audio = message.event.audio
            floats = np.frombuffer(audio.data, "<f4")
            audio.data = np.round(floats * 32767).astype("<i2").tobytes()
            audio.format.sample_format = audio_pb2.SAMPLE_FORMAT_S16LE
            audio.crc32c = google_crc32c.value(audio.data)
    async with serving(FakeComposer(piece)) as address, client_of(address) as client:
        await client.watch(NAME, encoding=audio_pb2.SAMPLE_FORMAT_S16LE).save_live(target)
        chunks = [chunk async for chunk in client.watch(NAME, encoding=audio_pb2.SAMPLE_FORMAT_S16LE).chunks()]
    with wave.open(str(target)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (RATE, 2, piece.frames)
    assert np.abs(np.concatenate([chunk.samples for chunk in chunks]) - piece.draft).max() < 1e-4
