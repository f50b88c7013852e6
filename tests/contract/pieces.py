"""A whole mesh in this process, and everything that a plan or a composition gives."""

from __future__ import annotations

import hashlib
import io
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import soundfile
from google.protobuf import json_format
from tests.contract.verdicts import Result, warnings_of
from tests.mesh.harness import embedded, hear

from segue_client import SegueError
from segue_client.errors import from_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from segue.composer.v1 import composition_pb2, spec_pb2
    from segue_client import Client

RATE: Final = 22_050
PERSONAL: Final = (
    "name", "create_time", "start_time", "end_time", "expire_time", "claims", "queue_position", "estimate", "outputs",
    "warnings", "parent",
)  # fmt: skip
"""Fields of a composition that differ from run to run; outputs and warnings are compared separately."""
REUSE: Final = ("model", "attempt", "reused")
"""Fields of a section that say whether its take was already there."""


@asynccontextmanager
async def mesh(home: Path, flags: dict[str, object] | None = None) -> AsyncIterator[Client]:
    """Start every service in this process."""
    async with embedded(home, flags) as (_, client):
        yield client


async def uploaded(client: Client, folder: Path) -> str:
    """Upload a short tune and return its name."""
    time_s = np.arange(RATE * 2) / RATE
    soundfile.write(folder / "tune.wav", 0.3 * np.sin(2 * np.pi * 330 * time_s), RATE)
    return (await client.upload(folder / "tune.wav")).name


async def plan(client: Client, spec: spec_pb2.CompositionSpec, without: tuple[str, ...] = ("readings",)) -> Result:
    """Return the plan, without fields that repeat the request, or the error."""
    try:
        response = await client.plan(spec)
    except SegueError as error:
        return Result(error=error)
    found = response.plan
    warnings = warnings_of(found.warnings)
    for name in ("digest", *without):
        found.ClearField(name)  # type: ignore[arg-type]  # names of fields
    return Result({"plan": json_format.MessageToDict(found)}, warnings)


async def compose(client: Client, spec: spec_pb2.CompositionSpec, secret: str = "") -> Result:
    """Return the composition, its decoded files and its manifest without the request."""
    try:
        heard = await hear(client.compose(spec))
    except SegueError as error:
        return Result(error=error)
    composition = heard.composition
    if composition.HasField("error"):
        return Result(error=from_status(composition.error))
    files = {output.name.rpartition("/")[2]: await _file(client, output, secret) for output in composition.outputs}
    warnings = warnings_of(composition.warnings)
    content = json_format.MessageToDict(composition, preserving_proto_field_name=True)
    for name in PERSONAL:
        content.pop(name, None)
    for section in content["sections"]:
        for name in REUSE:
            section.pop(name, None)
    content["is_child"] = bool(composition.parent)
    return Result({"composition": content, "files": files}, warnings)


async def _file(client: Client, output: composition_pb2.Output, secret: str) -> Any:
    """Return a file's content: tags and manifests repeat the request, so audio is decoded and compared."""
    raw = b"".join([piece async for piece in client.read(output)])
    tells = bool(secret) and secret.encode() in raw
    if output.media_type == "application/json":
        manifest = json.loads(raw)
        for name in ("spec", "plan"):
            manifest.pop(name, None)
        return manifest, tells
    if output.media_type.startswith("audio/") and "midi" not in output.media_type:
        with soundfile.SoundFile(io.BytesIO(raw)) as file:
            return (
                file.samplerate,
                file.subtype,
                hashlib.sha256(file.read(dtype="float32").tobytes()).hexdigest(),
                tells,
            )
    return hashlib.sha256(raw).hexdigest(), tells
