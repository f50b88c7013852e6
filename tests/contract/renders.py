"""A renderer backend behind a real gRPC channel, and everything that one call gives."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc.aio
from tests.contract.verdicts import Result, warnings_of

from segue.renderer.v1 import renderer_pb2, renderer_pb2_grpc
from segue_renderer.registry import band_melody
from segue_renderer.service import SERVICE, RendererService
from segue_runtime import errors
from segue_runtime.rpc import channels
from segue_runtime.rpc.server import Server, Service
from segue_runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from segue_renderer.backend import Backend


@asynccontextmanager
async def serving(backend: Backend, folder: Path) -> AsyncIterator[Any]:
    """Load a backend and serve it on a socket."""
    await backend.load()
    service = RendererService(backend, band_melody)

    def register(server: Any) -> None:
        renderer_pb2_grpc.add_RendererServiceServicer_to_server(service, server)

    server = Server(Settings(home=folder).server, [Service(SERVICE, register)])
    address = server.listen(f"unix:{folder}/renderer.sock")
    await server.start()
    try:
        async with channels.connect(address) as channel:
            yield renderer_pb2_grpc.RendererServiceStub(channel)
    finally:
        await server.stop(0)
        await backend.close()


async def render(stub: Any, start: renderer_pb2.RenderStart, more: Sequence[Any] = ()) -> Result:
    """Return the audio of every stem, the notes and all that the renderer says, except the queue and the speed."""
    content: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()
    digests: dict[str, Any] = {}
    requests = [renderer_pb2.RenderSectionRequest(start=start), *more]
    try:
        async for message in stub.RenderSection(iter(requests)):
            kind = message.WhichOneof("message")
            if kind == "audio":
                audio = message.audio
                digests.setdefault(audio.layer, hashlib.sha256()).update(audio.data)
                content["chunks"] = (audio.section_id, audio.take, audio.attempt)
            elif kind == "notes":
                content["notes"] = content.get("notes", b"") + message.notes.SerializeToString(deterministic=True)
            elif kind == "accepted":
                message.accepted.ClearField("queue_position")
                content["accepted"] = message.accepted.SerializeToString(deterministic=True)
            elif kind == "finished":
                warnings = warnings_of(message.finished.warnings)
                message.finished.ClearField("warnings")
                content["finished"] = message.finished.SerializeToString(deterministic=True)
    except grpc.aio.AioRpcError as error:
        return Result(error=errors.from_rpc_error(error))
    content["audio"] = {layer: digest.hexdigest() for layer, digest in digests.items()}
    return Result(content, warnings)
