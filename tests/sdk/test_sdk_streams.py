"""Broken and stalled streams: the user gets the correct piece or an error."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from tests.sdk.fake_composer import NAME, Break, FakeComposer, Piece, serving
from tests.sdk.stream_checks import BOTH, SILENCE_S, all_of, check, client_of, listen

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client import SegueError, events

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.sdk.fake_composer import Message


async def test_every_kind_of_event_has_a_class() -> None:
    kinds = {field.name for field in stream_pb2.CompositionEvent.DESCRIPTOR.oneofs_by_name["event"].fields}
    assert set(events.KINDS) == kinds
    piece = Piece()
    updates = await listen(FakeComposer(piece))
    check(updates, piece)
    assert isinstance(updates[-1], events.Finished)
    assert updates[-1].result.name == NAME
    assert [update.body.fraction_done for update in updates if isinstance(update, events.SectionProgress)] == [0.5]


@pytest.mark.parametrize("rewinds", [False, True])
async def test_a_stream_resumes_after_any_message(rewinds: bool) -> None:
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
async def test_temporary_failures_are_retried(broken: Break) -> None:
    piece = Piece()
    fake = FakeComposer(piece, lambda number, messages: [*messages[:3], broken] if number == 1 else messages)
    check(await listen(fake, SILENCE_S) if broken.silent else await listen(fake), piece)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.NOT_FOUND, "COMPOSITION_NOT_FOUND"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL"),
        (grpc.StatusCode.UNAUTHENTICATED, ""),
        (grpc.StatusCode.UNIMPLEMENTED, ""),
    ],
)
async def test_permanent_failures_are_raised_at_once(code: grpc.StatusCode, reason: str) -> None:
    fake = FakeComposer(Piece(), lambda _number, _messages: [Break(code, reason)])
    with pytest.raises(SegueError) as caught:
        await listen(fake)
    assert (caught.value.code, caught.value.reason) == (code, reason)
    assert fake.num_streams == 1


async def test_retries_end_when_the_server_stays_away() -> None:
    async with serving(FakeComposer(Piece())) as address:
        pass
    async with client_of(address) as client:
        with pytest.raises(SegueError) as caught:
            await all_of(client.watch(NAME))
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


async def test_a_kind_of_a_newer_server_is_unknown() -> None:
    piece = Piece()
    newer = stream_pb2.WatchCompositionResponse(cursor="c1")
    newer.event.composition, newer.event.sequence = NAME, 1
    # Field 900 of the event's oneof, as an empty message.
    newer.event.MergeFromString(b"\xa2\x38\x00")
    fake = FakeComposer(piece, lambda _number, messages: [messages[0], newer, *messages[1:]])
    updates = await listen(fake)
    assert isinstance(updates[1], events.Unknown)
    check([updates[0], *updates[2:]], piece)


async def test_a_failed_composition_gives_its_last_event_and_then_its_error() -> None:
    piece = Piece(state=composition_pb2.STATE_FAILED)
    seen: list[str] = []
    async with serving(FakeComposer(piece)) as address, client_of(address) as client:
        stream = client.compose("calm piano")
        while "finished" not in seen:
            seen.append((await anext(stream)).kind)
        with pytest.raises(SegueError) as caught:
            await anext(stream)
        assert caught.value.reason == "RENDER_INVALID"
        # Watching a failed composition succeeds.
        assert (await all_of(client.watch(NAME)))[-1].kind == "finished"
        with pytest.raises(SegueError, match="RENDER_INVALID"):
            await client.watch(NAME).result()


async def test_chunks_are_arrays_and_show_rewinds() -> None:
    piece = Piece(rewinds=True)
    whole = np.zeros((0, 2), np.float32)
    async with serving(FakeComposer(piece)) as address, client_of(address) as client:
        async for chunk in client.compose("calm piano").chunks():
            assert chunk.samples.dtype == np.float32
            whole = np.concatenate([whole[: chunk.first_frame], chunk.samples])
    assert np.array_equal(whole, piece.draft)


def test_an_abandoned_stream_ends_without_a_warning() -> None:
    complaints: list[dict[str, object]] = []
    left: list[object] = []

    async def look_at_the_beginning() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        async with serving(FakeComposer(Piece())) as address, client_of(address) as client:
            for _ in range(20):  # the loop closes their generators in any order
                stream = client.compose("calm piano", audio=BOTH)
                left.append(stream)
                async for _ in stream:
                    break

    asyncio.run(look_at_the_beginning())
    assert complaints == []
