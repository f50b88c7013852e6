"""Everything that one call of a renderer gives."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import grpc.aio
from tests.contract.verdicts import Result, warnings_of

from segue.renderer.v1 import renderer_pb2
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Sequence


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
