"""Streams that break, stall and lie: what a user gets is the piece as it is, or an error; never a wrong file."""

from __future__ import annotations

import asyncio
import wave
from typing import TYPE_CHECKING

import google_crc32c
import grpc
import numpy as np
import pytest
from tests.sdk.fake_composer import (
    CHUNK,
    NAME,
    RATE,
    Break,
    FakeComposer,
    Piece,
    QuickClock,
    changed,
    endless,
    files_in,
    is_audio,
    serving,
    size_of,
)

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composer_pb2
from segue_client import Client, DamagedAudio, SegueError, Update, events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from pathlib import Path

    from tests.sdk.fake_composer import Lie, Message

BOTH = composer_pb2.AUDIO_SELECTION_BOTH
TIME_LIMIT_S = 20


def client_of(address: str) -> Client:
    return Client(address, patience_s=60, silence_s=0.3, stuck_limit_s=0.5, clock=QuickClock())


async def all_of(stream: AsyncIterator[Update]) -> list[Update]:
    async with asyncio.timeout(TIME_LIMIT_S):
        return [update async for update in stream]


async def listen(fake: FakeComposer) -> list[Update]:
    async with serving(fake) as address, client_of(address) as client:
        return await all_of(client.compose("calm piano", audio=BOTH))


def sound_of(
    updates: Iterable[Update], stage: audio_pb2.Stage.ValueType
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    found = [update.samples for update in updates if isinstance(update, events.Audio) and update.stage == stage]
    return np.concatenate(found)


def check(updates: list[Update], piece: Piece) -> None:
    assert [update.event.sequence for update in updates] == [each.event.sequence for each in piece.messages]
    assert np.array_equal(sound_of(updates, audio_pb2.STAGE_MASTER), piece.master)
    if not piece.rewinds:
        assert np.array_equal(sound_of(updates, audio_pb2.STAGE_DRAFT), piece.draft)


async def test_every_kind_of_the_contract_has_a_class_of_its_own() -> None:
    kinds = {field.name for field in composer_pb2.CompositionEvent.DESCRIPTOR.oneofs_by_name["event"].fields}
    assert set(events.KINDS) == kinds
    piece = Piece()
    updates = await listen(FakeComposer(piece))
    check(updates, piece)
    assert isinstance(updates[-1], events.Finished)
    assert updates[-1].result.name == NAME
    assert [update.body.fraction_done for update in updates if isinstance(update, events.SectionProgress)] == [0.5]


@pytest.mark.parametrize("rewinds", [False, True])
async def test_a_stream_that_is_cut_after_any_message_goes_on_with_the_next(rewinds: bool) -> None:
    piece = Piece(rewinds=rewinds)

    def cut(_number: int, messages: list[Message]) -> Iterable[Message | Break]:
        return [messages[0], Break()] if len(messages) > 1 else messages

    fake = FakeComposer(piece, cut)
    check(await listen(fake), piece)
    assert fake.num_streams == len(piece.messages)
    assert len(fake.request_ids) == 1


@pytest.mark.parametrize(
    "broken",
    [
        Break(grpc.StatusCode.INTERNAL),
        Break(grpc.StatusCode.UNKNOWN),
        Break(grpc.StatusCode.RESOURCE_EXHAUSTED),
        Break(grpc.StatusCode.UNAVAILABLE, "READER_TOO_SLOW"),
        Break(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN"),
        Break(silent=True),
    ],
)
async def test_what_passes_is_waited_for(broken: Break) -> None:
    piece = Piece()
    fake = FakeComposer(piece, lambda number, messages: [*messages[:3], broken] if number == 1 else messages)
    check(await listen(fake), piece)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.NOT_FOUND, "COMPOSITION_NOT_FOUND"),
        (grpc.StatusCode.OUT_OF_RANGE, "CURSOR_EXPIRED"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL"),
        (grpc.StatusCode.UNAUTHENTICATED, ""),
        (grpc.StatusCode.UNIMPLEMENTED, ""),
    ],
)
async def test_what_does_not_pass_is_said_at_once(code: grpc.StatusCode, reason: str) -> None:
    fake = FakeComposer(Piece(), lambda _number, _messages: [Break(code, reason)])
    with pytest.raises(SegueError) as caught:
        await listen(fake)
    assert (caught.value.code, caught.value.reason) == (code, reason)
    assert fake.num_streams == 1


async def test_a_server_that_is_gone_is_given_up_when_the_patience_is_over() -> None:
    async with serving(FakeComposer(Piece())) as address:
        pass
    async with client_of(address) as client:
        with pytest.raises(SegueError) as caught:
            await all_of(client.watch(NAME))
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


def first_audio(change: Callable[[Message], Message]) -> Callable[[list[Message]], Iterator[Message | Break]]:
    """Tell a lie about the third chunk."""

    def lie(messages: list[Message]) -> Iterator[Message | Break]:
        for message in messages:
            yield change(message) if is_audio(message) and message.event.audio.first_frame == 2 * CHUNK else message

    return lie


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


LIES: dict[str, Callable[[list[Message]], Iterable[Message | Break]]] = {
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
    "nothing at all": lambda _messages: [Break(silent=True)],
    "endless heartbeats": lambda messages: endless(messages[0]),
}


# Who asks again for what comes after its cursor gets the truth, bit by bit.
TRUE_IN_THE_END = {"every chunk twice", "more than the piece has", "an end in the middle"}
# These are no faults of the way: nothing is gained by asking again.
SERVERS_OWN = {"endless heartbeats", "no end"}


@pytest.mark.parametrize("name", [name for name in LIES if name not in SERVERS_OWN])
async def test_a_lie_that_is_told_once_is_outlived(name: str) -> None:
    piece = Piece()
    fake = FakeComposer(piece, lambda number, messages: LIES[name](messages) if number == 1 else messages)
    check(await listen(fake), piece)
    assert fake.num_streams == 2


@pytest.mark.parametrize("name", LIES)
async def test_a_server_that_always_lies_never_gets_a_wrong_file_written(name: str, tmp_path: Path) -> None:
    fake = FakeComposer(Piece(), lambda _number, messages: LIES[name](messages))
    stage = audio_pb2.STAGE_MASTER if "master" in name else audio_pb2.STAGE_DRAFT
    async with serving(fake) as address, client_of(address) as client, asyncio.timeout(TIME_LIMIT_S):
        try:
            await client.watch(NAME).save_live(tmp_path / "song.wav", stage=stage)
        except SegueError:
            assert files_in(tmp_path) == []
            assert name not in TRUE_IN_THE_END
        else:
            assert name in TRUE_IN_THE_END
            assert (tmp_path / "song.wav").read_bytes()[44:] == fake.piece.draft.tobytes()


async def test_a_cursor_that_was_damaged_on_its_way_is_given_up_for_the_one_before() -> None:
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


async def test_a_kind_that_only_a_newer_server_knows_is_given_out_as_unknown() -> None:
    piece = Piece()
    newer = composer_pb2.WatchCompositionResponse(cursor="c1")
    newer.event.composition, newer.event.sequence = NAME, 1
    # Field 900 of the event's oneof, as a message with nothing in it.
    newer.event.MergeFromString(b"\xa2\x38\x00")
    fake = FakeComposer(piece, lambda _number, messages: [messages[0], newer, *messages[1:]])
    updates = await listen(fake)
    assert isinstance(updates[1], events.Unknown)
    check([updates[0], *updates[2:]], piece)


async def test_a_piece_that_failed_gives_its_last_event_and_then_its_error() -> None:
    piece = Piece(state=composer_pb2.STATE_FAILED)
    seen: list[str] = []
    async with serving(FakeComposer(piece)) as address, client_of(address) as client:
        stream = client.compose("calm piano")
        while "finished" not in seen:
            seen.append((await anext(stream)).kind)
        with pytest.raises(SegueError) as caught:
            await anext(stream)
        assert caught.value.reason == "RENDER_INVALID"
        # To watch it is no failure.
        assert (await all_of(client.watch(NAME)))[-1].kind == "finished"
        with pytest.raises(SegueError, match="RENDER_INVALID"):
            await client.watch(NAME).result()


def cut_often(cuts: int) -> Lie:
    def lie(number: int, messages: list[Message]) -> Iterable[Message | Break]:
        return [*messages[:3], Break()] if number <= cuts else messages

    return lie


async def test_a_live_file_grows_and_a_rewind_cuts_it_back(tmp_path: Path) -> None:
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


async def test_a_rewind_cuts_the_file_at_once(tmp_path: Path) -> None:
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


async def test_chunks_are_arrays_and_a_rewind_shows_in_their_place() -> None:
    piece = Piece(rewinds=True)
    whole = np.zeros((0, 2), np.float32)
    async with serving(FakeComposer(piece)) as address, client_of(address) as client:
        async for chunk in client.compose("calm piano").chunks():
            assert chunk.samples.dtype == np.float32
            whole = np.concatenate([whole[: chunk.first_frame], chunk.samples])
    assert np.array_equal(whole, piece.draft)


async def test_a_damaged_file_is_not_kept(tmp_path: Path) -> None:
    piece = Piece()
    fake = FakeComposer(piece)
    piece.messages[-1].event.finished.composition.outputs[0].sha256 = "0" * 64
    fake.got.outputs[0].sha256 = "0" * 64
    async with serving(fake) as address, client_of(address) as client:
        with pytest.raises(DamagedAudio):
            await client.compose("calm piano").save(tmp_path / "song.flac")
        assert files_in(tmp_path) == []
        # The event alone was damaged: the composition itself says what is right.
        fake.got.outputs[0].sha256 = piece.output.sha256
        await client.compose("calm piano").save(tmp_path / "song.flac")
    assert (tmp_path / "song.flac").read_bytes() == piece.flac


def test_a_stream_that_was_left_half_read_ends_without_a_word() -> None:
    complaints: list[dict[str, object]] = []
    left: list[object] = []

    async def look_at_the_beginning() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        async with serving(FakeComposer(Piece())) as address, client_of(address) as client:
            for _ in range(20):  # in whatever order the loop closes what they are made of
                stream = client.compose("calm piano", audio=BOTH)
                left.append(stream)
                async for _ in stream:
                    break

    asyncio.run(look_at_the_beginning())
    assert complaints == []
