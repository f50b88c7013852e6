"""The waits of the client, on the fake channel and the fake time of grpcio-testing: no port and no real waiting."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import grpc
import grpc_testing
import pytest
from tests.sdk.fake_composer import DETAILS_KEY, NAME, Break, Piece, status_of

from segue.composer.v1 import composer_pb2, composer_pb2_grpc, stream_pb2
from segue_client import SegueError, Update
from segue_client.transport.resumption import ResumingStream
from segue_client.transport.stream_check import StreamPosition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue_client.transport.connection import Connection

SERVICE = composer_pb2.DESCRIPTOR.services_by_name["ComposerService"]
WATCH = SERVICE.methods_by_name["WatchComposition"]
END = object()


class FakeClock:
    """The fake time of grpc_testing as a clock of the client; it records every wait."""

    def __init__(self, fake: Any) -> None:
        self._fake = fake
        self.waits: list[float] = []

    def now(self) -> float:
        return float(self._fake.time())

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self._fake.sleep_for(seconds)


class AwaitedCall:
    """Adapts a blocking call of the fake channel to grpc.aio."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def read(self) -> Any:
        response = await asyncio.to_thread(next, self._call, END)
        return grpc.aio.EOF if response is END else response

    def cancel(self) -> None:
        self._call.cancel()


@dataclass
class FakeConnection:
    """Provides the stub of the fake channel."""

    clock: FakeClock
    lent: Any
    patience_s: float = 60.0
    silence_s: float = 30.0
    answered: bool = False

    @contextlib.asynccontextmanager
    async def stub(self) -> AsyncIterator[Any]:
        yield self.lent

    def renew(self, dead: Any) -> None:
        assert dead is self.lent


class FakeServer:
    """A watch whose server is the test."""

    def __init__(self) -> None:
        fake_time = grpc_testing.strict_fake_time(0)
        self.channel = grpc_testing.channel([SERVICE], fake_time)
        self.clock = FakeClock(fake_time)
        self.connection = FakeConnection(self.clock, composer_pb2_grpc.ComposerServiceStub(self.channel))
        self.piece = Piece(num_chunks=1)
        self.seen: list[Update] = []

    def watch(self) -> asyncio.Task[None]:
        def resume(stub: Any, name: str, cursor: str) -> Any:
            request = stream_pb2.WatchCompositionRequest(name=name, cursor=cursor)
            return AwaitedCall(stub.WatchComposition(request))

        resuming = ResumingStream(cast("Connection", self.connection), None, resume, StreamPosition(name=NAME))

        async def listen() -> None:
            async for update in resuming.updates():
                self.seen.append(update)

        return asyncio.create_task(listen())

    async def serve(self, messages: int, broken: Break | None, cursor: str = "", *, watched: bool = True) -> None:
        """Answer the next call with the messages after its cursor, and end it."""
        _metadata, request, rpc = await asyncio.to_thread(self.channel.take_unary_stream, WATCH)
        assert request.cursor == cursor
        rpc.send_initial_metadata(())
        start = int(cursor[1:]) if cursor else 0
        for message in self.piece.messages[start : start + messages]:
            expected = len(self.seen) + 1
            rpc.send_response(message)
            # The fake channel drops unread messages when a call ends.
            while watched and len(self.seen) < expected:  # noqa: ASYNC110 - the watcher knows nothing of this test
                await asyncio.sleep(0.001)
        trailers = ((DETAILS_KEY, status_of(broken).SerializeToString()),) if broken and broken.reason else ()
        rpc.terminate(trailers, broken.code if broken else grpc.StatusCode.OK, broken.reason if broken else "")


def assert_waits(waits: list[float], longest_s: list[float]) -> None:
    assert len(waits) == len(longest_s)
    assert all(longest / 2 <= each <= longest for each, longest in zip(waits, longest_s, strict=True)), waits


async def test_waits_grow_to_ten_seconds_and_restart_after_progress() -> None:
    server = FakeServer()
    watching = server.watch()
    for _ in range(8):
        await server.serve(0, Break())
    await server.serve(2, Break())
    await server.serve(99, None, cursor="c2")
    await watching
    assert_waits(server.clock.waits, [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 0.2])
    assert [update.event.sequence for update in server.seen] == list(range(1, len(server.piece.messages) + 1))


async def test_retries_end_a_minute_after_the_last_message() -> None:
    server = FakeServer()
    watching = server.watch()
    await server.serve(3, Break())
    num_broken = 1
    while not watching.done():
        if len(server.clock.waits) == num_broken:
            # The client has waited and calls again.
            await server.serve(0, Break(), cursor="c3")
            num_broken += 1
        await asyncio.sleep(0)
    with pytest.raises(SegueError) as caught:
        await watching
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert 60 <= round(sum(server.clock.waits), 3) <= 70


async def test_the_retry_delay_of_the_server_is_used_up_to_a_limit() -> None:
    server = FakeServer()
    watching = server.watch()
    for asked_s in (1.0, 0.01, 86_400.0):
        await server.serve(0, Break(reason="SHUTTING_DOWN", retry_after_s=asked_s))
    await server.serve(99, None)
    await watching
    assert_waits(server.clock.waits, [1.0, 0.4, 60.0])
    assert (server.clock.waits[0], server.clock.waits[2]) == (1.0, 60.0)


async def test_repeated_damage_ends_the_retries_sooner() -> None:
    server = FakeServer()
    server.piece.messages[0].event.composition = "compositions/another0"
    watching = server.watch()
    for _ in range(9):
        await server.serve(1, None, watched=False)
    with pytest.raises(SegueError, match="damaged"):
        await watching
    assert sum(server.clock.waits) < 60
