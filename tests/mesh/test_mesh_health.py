"""Health says whether the service can work: it follows the store and the backend, and no busy event loop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.mesh.shapes import shape
from tests.runtime.call_server import NAME, running_server

from segue_client import Access, Client, SegueError
from segue_renderer.sketch.backend import SketchBackend
from segue_runtime import failpoints, loop_lag
from segue_runtime.settings import load
from segued.serve.node import Node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from segue_renderer.backend import BackendStatus

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
COMPOSER = "segue.composer.v1.ComposerService"
RENDERER = "segue.renderer.v1.RendererService"


@contextlib.asynccontextmanager
async def serving(home: Path, role: str) -> AsyncIterator[str]:
    """Start a role in this process; yield its address."""
    flags = {"home": str(home), **shape().settings(home), "server.drain": "1s", "server.role": role}
    async with Node(load(flags, environ={}, folder=home), listen=("127.0.0.1:0",)) as node:
        yield node.addresses[0]


async def becomes(address: str, service: str, status: int) -> None:
    """Watch the health of a service until it has a status."""
    async with grpc.aio.insecure_channel(address) as wire, asyncio.timeout(60):
        stub: Any = health_pb2_grpc.HealthStub(wire)
        async for answer in stub.Watch(health_pb2.HealthCheckRequest(service=service)):
            if answer.status == status:
                return


async def test_a_busy_event_loop_is_still_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "WINDOW_S", 0.2)
    async with running_server(tmp_path) as (client, _, server), asyncio.timeout(60):
        stub: Any = health_pb2_grpc.HealthStub(client.channel)
        while not server.is_lagging:
            time.sleep(0.2)  # noqa: ASYNC251 - this is the lag
            await asyncio.sleep(0.06)
        for _ in range(5):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=NAME))
            assert answer.status == SERVING


async def test_a_store_that_fails_takes_the_gateway_out_until_it_works_again(tmp_path: Path) -> None:
    async with serving(tmp_path, "gateway") as address, Client(Access(address), patience_s=0) as client:
        await becomes(address, COMPOSER, SERVING)
        failpoints.arm("store.before_commit=error")
        (file := tmp_path / "file").write_bytes(b"1")
        with pytest.raises(SegueError):
            await client.upload(file)
        await becomes(address, COMPOSER, NOT_SERVING)
        assert [each async for each in client.compositions()] == []  # it can still be read
        failpoints.arm("")
        await becomes(address, COMPOSER, SERVING)


@pytest.mark.parametrize(("role", "service"), [("renderer", RENDERER), ("all", COMPOSER)])
async def test_a_dead_backend_takes_its_server_out(
    role: str, service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = SketchBackend.status
    healthy = True

    def report(backend: SketchBackend) -> BackendStatus:
        return dataclasses.replace(status(backend), healthy=healthy)

    monkeypatch.setattr(SketchBackend, "status", report)
    async with serving(tmp_path, role) as address:
        await becomes(address, service, SERVING)
        healthy = False
        await becomes(address, service, NOT_SERVING)
        healthy = True
        await becomes(address, service, SERVING)
