"""False messages of a server or a network: the user gets the correct piece or an error, never a wrong file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.sdk.fake_composer import (
    CHUNK,
    NAME,
    Break,
    FakeComposer,
    Piece,
    changed,
    endless,
    files_in,
    is_audio,
    serving,
)
from tests.sdk.stream_checks import SILENCE_S, TIME_LIMIT_S, check, client_of, listen

from segue.audio.v1 import audio_pb2
from segue_client import DamagedAudio, SegueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.sdk.fake_composer import Message


def first_audio(change: Callable[[Message], Message]) -> Callable[[list[Message]], Iterator[Message | Break]]:
    """Send a false third chunk."""

    def tamper(messages: list[Message]) -> Iterator[Message | Break]:
        for message in messages:
            yield change(message) if is_audio(message) and message.event.audio.first_frame == 2 * CHUNK else message

    return tamper


def with_flipped_bit(message: Message) -> Message:
    content = bytearray(message.event.audio.data)
    content[17] ^= 4
    return changed(message, event__audio__data=bytes(content))


def without_last_frame(message: Message) -> Message:
    return changed(message, event__audio__data=message.event.audio.data[:-8])


def dropped(messages: list[Message]) -> list[Message]:
    return [message for message in messages if not (is_audio(message) and message.event.audio.first_frame == CHUNK)]


def repeated(messages: list[Message]) -> list[Message]:
    return [each for message in messages for each in ((message, message) if is_audio(message) else (message,))]


def without_the_end(messages: list[Message]) -> list[Message]:
    last = 5 * CHUNK
    return [message for message in messages if not (is_audio(message) and message.event.audio.first_frame >= last)]


def beyond_the_end(messages: list[Message]) -> Iterator[Message]:
    for message in messages:
        yield message
        if is_audio(message) and message.event.audio.first_frame == 5 * CHUNK:
            yield changed(message, event__audio__first_frame=6 * CHUNK)


def master_first(messages: list[Message]) -> list[Message]:
    return [message for message in messages if message.event.WhichOneof("event") != "draft_finished"]


SILENT = "nothing at all"
FALSE_MESSAGES: dict[str, Callable[[list[Message]], Iterable[Message | Break]]] = {
    "a flipped bit": first_audio(with_flipped_bit),
    "a missing frame": first_audio(without_last_frame),
    "another rate": first_audio(lambda message: changed(message, event__audio__format__sample_rate=44100)),
    "another number of channels": first_audio(lambda message: changed(message, event__audio__format__channels=1)),
    "a jump": first_audio(lambda message: changed(message, event__audio__first_frame=5 * CHUNK)),
    "a negative frame": first_audio(lambda message: changed(message, event__audio__first_frame=-1)),
    "another stage": first_audio(lambda message: changed(message, event__audio__stage=audio_pb2.STAGE_TAKE)),
    "another name": first_audio(lambda message: changed(message, event__composition="compositions/fedcba9876543210")),
    "no cursor": first_audio(lambda message: changed(message, cursor="")),
    "a dropped chunk": dropped,
    "every chunk twice": repeated,
    "no end": without_the_end,
    "more than the piece has": beyond_the_end,
    "the master before the draft is done": master_first,
    "a huge message": first_audio(lambda message: changed(message, event__audio__take="x" * (1 << 21))),
    "an end in the middle": lambda messages: messages[:5],
    SILENT: lambda _messages: [Break(silent=True)],
    "endless heartbeats": lambda messages: endless(messages[0]),
}


# A client that resumes at its cursor receives correct messages.
TRUE_IN_THE_END = {"every chunk twice", "more than the piece has", "an end in the middle"}
# These are no network faults: a retry is of no use.
SERVERS_OWN = {"endless heartbeats", "no end"}


@pytest.mark.parametrize("name", [name for name in FALSE_MESSAGES if name not in SERVERS_OWN])
async def test_a_single_false_message_is_recovered(name: str) -> None:
    piece = Piece()
    fake = FakeComposer(piece, lambda number, messages: FALSE_MESSAGES[name](messages) if number == 1 else messages)
    if name == SILENT:
        # It may be silent for longer than that by chance.
        check(await listen(fake, SILENCE_S), piece)
        return
    check(await listen(fake), piece)
    assert fake.num_streams == 2


@pytest.mark.parametrize("name", FALSE_MESSAGES)
async def test_a_false_server_never_causes_a_wrong_file(name: str, tmp_path: Path) -> None:
    fake = FakeComposer(Piece(), lambda _number, messages: FALSE_MESSAGES[name](messages))
    stage = audio_pb2.STAGE_MASTER if "master" in name else audio_pb2.STAGE_DRAFT
    silence_s = SILENCE_S if name == SILENT else 30.0
    async with serving(fake) as address, client_of(address, silence_s) as client, asyncio.timeout(TIME_LIMIT_S):
        try:
            await client.watch(NAME).save_live(tmp_path / "song.wav", stage=stage)
        except SegueError:
            assert files_in(tmp_path) == []
            assert name not in TRUE_IN_THE_END
        else:
            assert name in TRUE_IN_THE_END
            assert (tmp_path / "song.wav").read_bytes()[44:] == fake.piece.draft.tobytes()


async def test_a_damaged_cursor_is_replaced_by_the_one_before() -> None:
    piece = Piece()

    def damage(number: int, messages: list[Message]) -> Iterator[Message | Break]:
        for message in messages:
            if number == 1 and is_audio(message) and message.event.audio.first_frame == 2 * CHUNK:
                yield changed(message, cursor="c!")
                yield Break()
            else:
                yield message

    fake = FakeComposer(piece, damage)
    check(await listen(fake), piece)
    assert "c!" in fake.cursors


async def test_a_damaged_file_is_not_kept(tmp_path: Path) -> None:
    piece = Piece()
    fake = FakeComposer(piece)
    piece.messages[-1].event.finished.composition.outputs[0].sha256 = "0" * 64
    fake.got.outputs[0].sha256 = "0" * 64
    async with serving(fake) as address, client_of(address) as client:
        with pytest.raises(DamagedAudio):
            await client.compose("calm piano").save(tmp_path / "song.flac")
        assert files_in(tmp_path) == []
        # Only the event was damaged: the composition itself is correct.
        fake.got.outputs[0].sha256 = piece.output.sha256
        await client.compose("calm piano").save(tmp_path / "song.flac")
    assert (tmp_path / "song.flac").read_bytes() == piece.flac
