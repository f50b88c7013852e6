"""SIGTERM during a section: health changes first, then the streams end, then the work; the exit code is 0."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.mesh.harness import Segued, hear, sha256, spec

from segue.composer.v1 import composer_pb2_grpc, composition_pb2, stream_pb2
from segue_client import Access, Client
from segue_client.channel import connect
from segue_client.errors import from_rpc_error

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = "segue.composer.v1.ComposerService"
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
BOTH = stream_pb2.AUDIO_SELECTION_BOTH
ASKED = spec("calm piano, 120 bpm, C major, verse chorus", seconds=12)


async def until(calls: Any, wanted: int) -> None:
    """Watch health until it has the wanted state."""
    while (await calls.read()).status != wanted:
        pass


async def to_the_end(calls: Any) -> None:
    while await calls.read() is not grpc.aio.EOF:
        pass


@pytest.mark.parametrize(
    ("drain", "section"), [("3s", "30s"), ("30s", "1500ms")], ids=["grace is shorter", "grace is longer"]
)
@pytest.mark.timeout(180)
async def test_sigterm_during_a_section_drains_in_order(tmp_path: Path, drain: str, section: str) -> None:
    one = Segued(tmp_path / "home", "--server-drain", drain, "--server-pre-stop", "2s")
    one.start(failpoints=f"conductor.after_take=sleep({section})")
    try:
        async with connect(Access(one.address)) as channel, Client(one.address, patience_s=0) as client:
            stub = cast("composer_pb2_grpc.ComposerServiceAsyncStub", composer_pb2_grpc.ComposerServiceStub(channel))
            health: Any = health_pb2_grpc.HealthStub(channel)
            name = (await client.create(ASKED)).name
            watch: Any = stub.WatchComposition(stream_pb2.WatchCompositionRequest(name=name, audio=BOTH))
            while (await watch.read()).event.WhichOneof("event") != "audio":
                pass
            status = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
            await until(status, health_pb2.HealthCheckResponse.SERVING)
            assert one.process is not None
            one.process.terminate()
            await until(status, NOT_SERVING)
            # It still answers, and refuses new work.
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await stub.CreateComposition(composition_pb2.CreateCompositionRequest(spec=ASKED))
            refused = from_rpc_error(refusal.value)
            assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
            assert refused.retry_after_s
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await to_the_end(watch)
            ending = from_rpc_error(ended.value)
            assert (ending.code, ending.reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
            assert ending.retry_after_s
        assert await one.ended() == 0
        one.start()
        async with Client(one.address, patience_s=30) as client:
            heard = await asyncio.wait_for(hear(client.watch(name, audio=BOTH)), 60)
            assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
            assert heard.kinds.count("started") <= 2
            again = await asyncio.wait_for(hear(client.compose(ASKED, audio=BOTH)), 60)
            assert sha256(heard.draft) == sha256(again.draft)
            assert heard.digests() == again.digests()
    finally:
        one.stop()
