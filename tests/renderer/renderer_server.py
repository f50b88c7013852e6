"""Serves a backend, or a service, on a socket of its own, for all tests of renderers."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from segue.renderer.v1 import renderer_pb2_grpc
from segue_renderer.hosting.model_host import ModelHost
from segue_renderer.registry import band_melody
from segue_renderer.service import SERVICE, RendererService
from segue_runtime.rpc import channels
from segue_runtime.rpc.server import KEEPALIVE_S, Server, Service
from segue_runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from segue_renderer.backend import Backend

NUMBERS = itertools.count()


@asynccontextmanager
async def listening(
    service: renderer_pb2_grpc.RendererServiceServicer,
    folder: Path,
    address: str = "127.0.0.1:0",
    keepalive_s: float = KEEPALIVE_S,
) -> AsyncIterator[str]:
    """Serve a service; yields its address."""

    def register(server: Any) -> None:
        renderer_pb2_grpc.add_RendererServiceServicer_to_server(service, server)

    server = Server(Settings(home=folder).server, [Service(SERVICE, register)], keepalive_s=keepalive_s)
    bound = server.listen(address)
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(0)


@asynccontextmanager
async def served(backend: Backend, folder: Path) -> AsyncIterator[Any]:
    """Load and serve a backend on a Unix socket; yields a stub."""
    await backend.load()
    # A name that is used once: channels to one address share a connection, which the end of an earlier server closes.
    address = f"unix:{folder}/{next(NUMBERS)}.sock"
    try:
        service = RendererService(ModelHost.of(backend), band_melody)
        async with listening(service, folder, address) as bound, channels.connect(bound) as channel:
            yield renderer_pb2_grpc.RendererServiceStub(channel)
    finally:
        await backend.close()
