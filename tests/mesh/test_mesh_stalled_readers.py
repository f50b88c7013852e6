"""Stalled readers: they do not slow others, cost bounded memory on both sides, and end with a cursor."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, cast

import grpc
import psutil
import pytest
from tests.mesh.harness import Segued, hear, sha256, spec

from segue.composer.v1 import composer_pb2_grpc, composition_pb2, stream_pb2
from segue_client import Access, Client
from segue_client.channel import connect
from segue_client.errors import from_rpc_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

BOTH = stream_pb2.AUDIO_SELECTION_BOTH
SECONDS = 90
STREAM_BYTES = 2 * SECONDS * 48_000 * 8
NUM_STALLED = 20
# For each stream: a flow-control window, and the bytes between the layers.
BYTES_A_STREAM = 4 << 20
# Caches of the allocator, and the composition's own work.
SLACK_BYTES = 120 << 20


@pytest.fixture
def segued(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segued]:
    one = Segued(tmp_path_factory.mktemp("home"), "--gateway-stall-limit", "4s")
    try:
        yield one.start()
    finally:
        one.stop()


@contextlib.asynccontextmanager
async def stalled(
    address: str, name: str, count: int
) -> AsyncIterator[list[grpc.aio.UnaryStreamCall[Any, stream_pb2.WatchCompositionResponse]]]:
    """Start watches on one channel that read only their first message."""
    channel = connect(Access(address))
    stub = cast("composer_pb2_grpc.ComposerServiceAsyncStub", composer_pb2_grpc.ComposerServiceStub(channel))
    calls = [stub.WatchComposition(stream_pb2.WatchCompositionRequest(name=name, audio=BOTH)) for _ in range(count)]
    try:
        for call in calls:
            await call.read()
        yield calls
    finally:
        for call in calls:
            call.cancel()
        await channel.close()


async def test_a_stalled_reader_slows_nobody_and_continues_from_its_cursor(segued: Segued) -> None:
    async with Client(segued.address) as client:
        created = await client.create(spec(seconds=SECONDS))
        async with stalled(segued.address, created.name, 1) as (call,):
            # Another reader receives the whole piece meanwhile.
            heard = await asyncio.wait_for(hear(client.watch(created.name, audio=BOTH)), 100)
            assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
            async with asyncio.timeout(30):
                while (await client.stats()).watchers:  # noqa: ASYNC110 - nothing else tells
                    await asyncio.sleep(0.1)
            # Its window still holds some messages; the error follows them.
            cursor = ""
            try:
                while isinstance(response := await call.read(), stream_pb2.WatchCompositionResponse):
                    cursor = response.cursor
            except grpc.aio.AioRpcError as error:
                ended = from_rpc_error(error)
            else:
                pytest.fail("it was not ended")
            assert (ended.code, ended.reason) == (grpc.StatusCode.UNAVAILABLE, "READER_TOO_SLOW")
            assert ended.retry_after_s
            rest = await hear(client.watch(created.name, cursor=cursor, audio=BOTH))
            assert rest.composition == heard.composition
            tail = rest.draft + rest.master
            assert tail
            assert sha256((heard.draft + heard.master)[-len(tail) :]) == sha256(tail)


async def test_stalled_readers_cost_bounded_memory_on_both_sides(segued: Segued) -> None:
    own = psutil.Process()
    async with Client(segued.address) as client:
        heard = await asyncio.wait_for(hear(client.compose(spec(seconds=SECONDS), audio=BOTH)), 100)
        name = heard.composition.name
        assert len(heard.draft) + len(heard.master) == STREAM_BYTES
        before_there, before_here = segued.memory_bytes, own.memory_info().rss
        for _ in range(3):
            async with stalled(segued.address, name, NUM_STALLED):
                # The same stream is read to its end meanwhile: long enough for any buffer to fill.
                again = await hear(client.watch(name, audio=BOTH))
                assert again.digests() == heard.digests()
                there, here = segued.memory_bytes - before_there, own.memory_info().rss - before_here
                assert there < NUM_STALLED * BYTES_A_STREAM + SLACK_BYTES
                assert here < NUM_STALLED * BYTES_A_STREAM + SLACK_BYTES + STREAM_BYTES
                del again
