"""Roles that are away for a while: pieces wait, tell their watchers what they wait for, and continue."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.mesh.faulty_renderer import FaultyRenderer, faulty_renderer
from tests.mesh.harness import Heard, embedded, free_port, hear, spec
from tests.renderer.renderer_server import listening

from segue.composer.v1 import composition_pb2
from segue.renderer.v1 import renderer_pb2, renderer_pb2_grpc
from segue_client import SegueError
from segue_renderer.sketch.backend import SketchBackend
from segue_runtime.rpc.channels import connect
from segue_runtime.settings import load
from segued.serve.node import Node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.mesh.faulty_renderer import Responses

    from segue_client import Client

ASKED = spec("calm piano, 120 bpm, C major, verse chorus", seconds=12)
LIMIT_S = 90


async def waits_for(client: Client, name: str) -> str:
    """Watch until a checkpoint names a role that the composition waits for."""
    updates = client.watch(name)
    async with contextlib.aclosing(updates):
        async for update in updates:
            if update.kind == "checkpoint" and update.event.checkpoint.waiting_for:
                return update.event.checkpoint.waiting_for
    raise AssertionError(name)


@contextlib.asynccontextmanager
async def renderer_at(address: str, folder: Path) -> AsyncIterator[FaultyRenderer]:
    backend = SketchBackend()
    service = FaultyRenderer(backend)
    try:
        async with listening(service, folder, address):
            yield service
    finally:
        await backend.close()


async def test_a_piece_is_accepted_without_a_renderer_and_waits_for_one(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    flags: dict[str, object] = {"renderer.addresses": address, "gateway.heartbeat": "0.3s"}
    async with embedded(tmp_path, flags) as (_, client), asyncio.timeout(LIMIT_S):
        created = await client.create(spec(seconds=4))
        assert await waits_for(client, created.name) == "renderer"
        # A later watcher learns it, too, and whoever asks for the state.
        assert await waits_for(client, created.name) == "renderer"
        assert (await client.get(created.name)).waiting_for == "renderer"
        assert [each.waiting_for async for each in client.compositions()] == ["renderer"]
        with pytest.raises(SegueError) as caught:
            await client.create(spec(seconds=4, midi=True))  # not every model has notes
        assert caught.value.reason == "NO_RENDERER"
        async with renderer_at(address, tmp_path):
            heard = await hear(client.watch(created.name))
            assert not (await client.get(created.name)).waiting_for
    assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
    assert heard.composition.model == "sketch"


async def test_a_renderer_that_goes_away_costs_no_attempt_while_it_is_away(tmp_path: Path) -> None:
    """It ends in the second section, and comes back on the same port after several refused calls."""
    second = asyncio.Event()

    async def stops(call: int, _start: renderer_pb2.RenderStart, responses: Responses) -> Responses:
        async for response in responses:
            if call == 2:
                second.set()
                await asyncio.Event().wait()
            yield response

    async with contextlib.AsyncExitStack() as stack:
        renderer = await stack.enter_async_context(faulty_renderer(tmp_path, stops))
        flags: dict[str, object] = {"renderer.addresses": renderer.address, "gateway.heartbeat": "0.3s"}
        async with embedded(tmp_path, flags) as (_, client), asyncio.timeout(LIMIT_S):
            created = await client.create(ASKED)
            watching = asyncio.create_task(hear(client.watch(created.name)))
            await second.wait()
            await stack.aclose()
            assert await waits_for(client, created.name) == "renderer"
            await asyncio.sleep(1)  # a few more calls are refused
            async with renderer_at(renderer.address, tmp_path):
                heard = await watching
    assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
    num_sections = len(heard.composition.sections)
    assert heard.kinds.count("section_retried") <= num_sections
    assert heard.kinds.count("section_started") == num_sections + heard.kinds.count("section_retried")
    # While it works again, it does not claim to wait.
    last = [each.event.checkpoint.waiting_for for each in heard.updates if each.kind == "checkpoint"]
    assert last[-1:] != ["renderer"]


async def test_a_piece_waits_for_a_mixer(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    settings = load(
        {"home": str(tmp_path), "server.role": "mixer", "mixer.listen": address}, environ={}, folder=tmp_path
    )
    async with embedded(tmp_path, {"mixer.address": address}) as (_, client), asyncio.timeout(LIMIT_S):
        created = await client.create(spec(seconds=4))
        assert await waits_for(client, created.name) == "mixer"
        async with Node(settings):
            heard = await hear(client.watch(created.name))
    assert heard.composition.state == composition_pb2.STATE_SUCCEEDED


async def test_the_patience_ends_with_the_reason(tmp_path: Path) -> None:
    flags: dict[str, object] = {"renderer.addresses": f"127.0.0.1:{free_port()}", "conductor.patience": "0.3s"}
    async with embedded(tmp_path, flags) as (_, client), asyncio.timeout(LIMIT_S):
        heard = Heard()
        with pytest.raises(SegueError) as caught:
            await hear(client.compose(spec(seconds=4)), heard)
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.UNAVAILABLE, "NO_RENDERER")
    assert heard.composition.state == composition_pb2.STATE_FAILED


async def test_the_time_limit_counts_while_a_piece_waits(tmp_path: Path) -> None:
    limited = spec(seconds=4)
    limited.time_limit.FromSeconds(1)
    async with (
        embedded(tmp_path, {"renderer.addresses": f"127.0.0.1:{free_port()}"}) as (_, client),
        asyncio.timeout(LIMIT_S),
    ):
        with pytest.raises(SegueError) as caught:
            await hear(client.compose(limited))
    assert caught.value.reason == "TIME_LIMIT"


async def test_a_channel_keeps_trying_to_connect_every_two_seconds() -> None:
    """With gRPC's own pauses, the eighth try would come after 43 s, and later ones after two minutes each."""
    tries: asyncio.Queue[None] = asyncio.Queue()

    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()
        tries.put_nowait(None)

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, connect(f"127.0.0.1:{port}") as channel, asyncio.timeout(30):
        calls: Any = renderer_pb2_grpc.RendererServiceStub(channel)
        waiting = asyncio.ensure_future(calls.GetStatus(renderer_pb2.GetStatusRequest(), wait_for_ready=True))
        for _ in range(8):
            await tries.get()
        waiting.cancel()
