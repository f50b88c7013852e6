"""A small service behind the interceptor, on a real server, and its client."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from google.rpc import status_pb2

from segue.audio.v1 import audio_pb2
from segue_runtime import errors, scope
from segue_runtime.callers import Grant
from segue_runtime.rpc import channels
from segue_runtime.rpc.server import Server, Service
from segue_runtime.settings import Settings, replace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

NAME = "segue.test.v1.TestService"
GRANTS = {
    "Unary": frozenset({Grant.COMPOSE}),
    "Watch": frozenset({Grant.WATCH}),
    "Upload": frozenset({Grant.COMPOSE, Grant.ANALYZE}),
    "Both": frozenset({Grant.COMPOSE}),
}
GOOD = audio_pb2.AudioFormat(sample_rate=48_000, channels=2)


@dataclass
class Seen:
    """The requests that the handlers of the test service received."""

    scopes: list[scope.Scope | None] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    fail: Callable[[], BaseException] | None = None
    num_sent: int = 0


class Handlers:
    """A service with a method of each kind; an audio chunk represents any message with rules."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    async def unary(self, request: audio_pb2.AudioFormat, _context: Any) -> audio_pb2.AudioFormat:
        self.seen.scopes.append(scope.current())
        if self.seen.fail:
            raise self.seen.fail()
        return request

    async def watch(self, request: audio_pb2.AudioFormat, _context: Any) -> AsyncIterator[audio_pb2.AudioChunk]:
        self.seen.scopes.append(scope.current())
        self.seen.started.set()
        try:
            for _ in range(3):
                yield audio_pb2.AudioChunk(format=request)
            if self.seen.fail:
                raise self.seen.fail()  # noqa: TRY301 - the handler under test fails here
            if request.channels == 1:
                await asyncio.Event().wait()
            while request.channels == 8:
                self.seen.num_sent += 1
                yield audio_pb2.AudioChunk(format=request, data=bytes(65536))
        except BaseException as error:
            self.seen.ended.append(type(error).__name__)
            raise
        finally:
            await asyncio.sleep(0.05)
            self.seen.ended.append("finally")
            self.seen.finished.set()

    async def upload(self, requests: AsyncIterator[audio_pb2.AudioFormat], _context: Any) -> audio_pb2.AudioFormat:
        total = audio_pb2.AudioFormat()
        async for request in requests:
            total.sample_rate += request.sample_rate
        return total

    async def both(
        self, requests: AsyncIterator[audio_pb2.AudioFormat], _context: Any
    ) -> AsyncIterator[audio_pb2.AudioFormat]:
        async for request in requests:
            yield request

    def register(self, server: grpc.aio.Server) -> None:
        kinds = {
            "Unary": grpc.unary_unary_rpc_method_handler(
                self.unary, audio_pb2.AudioFormat.FromString, audio_pb2.AudioFormat.SerializeToString
            ),
            "Watch": grpc.unary_stream_rpc_method_handler(
                self.watch, audio_pb2.AudioFormat.FromString, audio_pb2.AudioChunk.SerializeToString
            ),
            "Upload": grpc.stream_unary_rpc_method_handler(
                self.upload, audio_pb2.AudioFormat.FromString, audio_pb2.AudioFormat.SerializeToString
            ),
            "Both": grpc.stream_stream_rpc_method_handler(
                self.both, audio_pb2.AudioFormat.FromString, audio_pb2.AudioFormat.SerializeToString
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, kinds),))


class Client:
    """The four methods, with raw bytes or messages as requests."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        read: Any = audio_pb2.AudioFormat.FromString
        self.unary: Any = channel.unary_unary(f"/{NAME}/Unary", _write, read)
        self.watch: Any = channel.unary_stream(f"/{NAME}/Watch", _write, audio_pb2.AudioChunk.FromString)
        self.upload: Any = channel.stream_unary(f"/{NAME}/Upload", _write, read)
        self.both: Any = channel.stream_stream(f"/{NAME}/Both", _write, read)


def _write(request: Any) -> bytes:
    return request if isinstance(request, bytes) else request.SerializeToString()


@asynccontextmanager
async def running_server(
    tmp_path: Path, token: str = "", **changes: object
) -> AsyncIterator[tuple[Client, Seen, Server]]:
    seen = Seen()
    named = {f"server__{key}": value for key, value in changes.items()}
    settings = replace(Settings(home=tmp_path), server__token=token, **named)
    server = Server(settings.server, [Service(NAME, Handlers(seen).register, grants=GRANTS)])
    address = server.listen("127.0.0.1:0")
    await server.start()
    try:
        async with channels.connect(address) as channel:
            yield Client(channel), seen, server
    finally:
        await server.stop(0)


async def refused(call: Any) -> tuple[grpc.StatusCode, errors.SegueError, status_pb2.Status]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailers = dict(caught.value.trailing_metadata())
    packed = trailers[errors.DETAILS_KEY]
    assert isinstance(packed, bytes)
    return caught.value.code(), errors.from_rpc_error(caught.value), status_pb2.Status.FromString(packed)


async def all_of(call: Any) -> list[Any]:
    return [message async for message in call]
