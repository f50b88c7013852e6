"""Renderers that join the pool by themselves: with leases, at any conductor, and only with sound offers."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from tests.contract.section_changes import base_section, start_of
from tests.mesh.harness import free_port, hear, spec
from tests.mesh.shapes import shape

from segue.composer.v1 import composer_pb2, composer_pb2_grpc, composition_pb2
from segue.renderer.v1 import pool_pb2, pool_pb2_grpc, renderer_pb2, renderer_pb2_grpc
from segue_client import Access, Client
from segue_runtime import errors
from segue_runtime.rpc.addresses import is_local
from segue_runtime.settings import load
from segued.serve.node import Node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LIMIT_S = 120
TOKEN = "the-token-of-the-roles"
AUTHORIZED = (("authorization", f"Bearer {TOKEN}"),)


@contextlib.asynccontextmanager
async def process(folder: Path, role: str, address: str, **flags: object) -> AsyncIterator[Node]:
    """Run a process of the mesh in this one."""
    (folder / "role-token").write_text(TOKEN)
    home = folder / "home"
    basic: dict[str, object] = {"home": str(home), **shape().settings(home), "server.role": role, "server.drain": "1s"}
    basic |= {"peers.keepalive": "2s", "pool.token_file": str(folder / "role-token")}
    basic |= {name.replace("__", "."): str(value) for name, value in flags.items()}
    async with Node(load(basic, environ={}, folder=folder), listen=(address,)) as node:
        yield node


async def until_slots(address: str, num_slots: int) -> None:
    """Wait until the pool of a mesh has so many slots of the sketch band."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = composer_pb2_grpc.ComposerServiceStub(channel)
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):  # no renderer has answered yet
                answer: composer_pb2.ListModelsResponse = await stub.ListModels(composer_pb2.ListModelsRequest())
                if [each.slots for each in answer.statuses if each.model == "sketch"] == [num_slots]:
                    return
            await asyncio.sleep(0.1)


async def test_a_renderer_joins_plays_with_leases_only_and_goes_to_another_conductor(tmp_path: Path) -> None:
    here, away = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(LIMIT_S):
        nobody = f"127.0.0.1:{free_port()}"
        mesh = {"renderer__addresses": nobody, "conductor__patience": "60s"}
        main = await stack.enter_async_context(process(tmp_path, "all", here, **mesh))
        other = contextlib.AsyncExitStack()
        inner = {f"{role}__address": main.inner for role in ("planner", "mixer", "analyzer")}
        await other.enter_async_context(process(tmp_path, "conductor", away, conductor__listen=away, **inner))
        renderer = await stack.enter_async_context(
            process(tmp_path, "renderer", "127.0.0.1:0", renderer__join=f"{away},{here}")
        )
        await until_slots(here, 1)
        async with grpc.aio.insecure_channel(renderer.addresses[0]) as channel:
            stub: Any = renderer_pb2_grpc.RendererServiceStub(channel)
            start = start_of(base_section(), lease="0" * 32)
            request = renderer_pb2.RenderSectionRequest(start=start)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await _all(stub.RenderSection(iter([request]), metadata=AUTHORIZED))
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert isinstance(errors.from_rpc_error(refused.value), errors.LeaseUnknown)
        async with Client(Access(here), patience_s=20) as client:
            first = await hear(client.compose(spec(seconds=4)))
            await other.aclose()
            second = await hear(client.compose(spec(seconds=4)))
        assert first.digests() == second.digests()
        assert first.composition.state == second.composition.state == composition_pb2.STATE_SUCCEEDED


async def _all(call: Any) -> list[Any]:
    return [each async for each in call]


def offer(**changes: Any) -> pool_pb2.JoinRequest:
    """Return a sound offer with changes."""
    profile = renderer_pb2.ModelProfile(model="tune", backend="test", channels=2)
    status = renderer_pb2.GetStatusResponse(slots=1, models=[profile])
    fields = {"renderer": "one", "address": "127.0.0.1:7399", "status": status}
    return pool_pb2.JoinRequest(offer=pool_pb2.Offer(**{**fields, **changes}))


BAD: dict[str, dict[str, Any]] = {
    "a socket of the conductor's machine": {"address": "unix:/run/docker.sock"},
    "a target of gRPC": {"address": "dns:///renderer:7302"},
    "every address": {"address": "0.0.0.0:7302"},
    "no port": {"address": "renderer"},
    "a port that is none": {"address": "renderer:70000"},
    "an id that looks like an address": {"renderer": "127.0.0.1:7302"},
    "a long id": {"renderer": "x" * 200},
    "endless slots": {"status": renderer_pb2.GetStatusResponse(slots=1 << 31)},
    "a speed that is no number": {
        "status": renderer_pb2.GetStatusResponse(
            models=[renderer_pb2.ModelProfile(model="tune", real_time_factor=float("nan"))]
        )
    },
    "the address of a member": {"address": "127.0.0.1:7302", "renderer": "two"},
}


async def test_offers_are_checked_and_end_with_their_stream(tmp_path: Path) -> None:
    here = f"127.0.0.1:{free_port()}"
    async with (
        asyncio.timeout(LIMIT_S),
        process(tmp_path, "all", here, server__token="a user's token, long enough"),
        grpc.aio.insecure_channel(here) as channel,
    ):
        stub: Any = pool_pb2_grpc.PoolServiceStub(channel)
        member = stub.Join(metadata=AUTHORIZED)
        await member.write(offer(address="127.0.0.1:7302"))
        assert (await member.read()).WhichOneof("message") == "joined"
        for name, changes in BAD.items():
            call = stub.Join(metadata=AUTHORIZED)
            await call.write(offer(**changes))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await _all(call)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT, name
        refusals = {
            (): grpc.StatusCode.UNAUTHENTICATED,
            (("authorization", "Bearer a user's token, long enough"),): grpc.StatusCode.PERMISSION_DENIED,
        }
        for metadata, code in refusals.items():
            call = stub.Join(iter([offer()]), metadata=metadata)
            with pytest.raises(grpc.aio.AioRpcError) as stranger:
                await _all(call)
            assert stranger.value.code() is code
        await member.write(offer(address="127.0.0.1:7303"))
        with pytest.raises(grpc.aio.AioRpcError, match="first offer"):
            await member.read()


def test_loopback_is_for_renderers_of_the_same_machine() -> None:
    for peer in ("ipv4:127.0.0.1:5000", "ipv6:%5B::1%5D:5000", "ipv6:[::ffff:127.0.0.1]:5000", "unix:"):
        assert is_local(peer), peer
    for peer in ("ipv4:10.0.0.1:5000", "ipv6:%5Bfe80::1%5D:5000", "ipv4:"):
        assert not is_local(peer), peer


async def test_renderer_join_needs_a_renderer_that_can_be_called(tmp_path: Path) -> None:
    for role, address, expected in (
        ("all", "127.0.0.1:0", "add --role renderer"),
        ("renderer", f"unix:{tmp_path}/r", "listens on HOST:PORT"),
    ):
        with pytest.raises(Exception, match=expected):
            async with process(tmp_path, role, address, renderer__join="127.0.0.1:7305", renderer__listen=address):
                pass
