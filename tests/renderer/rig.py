"""A sketch renderer behind a real gRPC channel, and its answers, for tests."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
from tests.renderer import frozen
from tests.renderer.renderer_server import served

from segue.renderer.v1 import renderer_pb2
from segue_music import codec
from segue_music.elements import Note
from segue_music.plan import Brief, SectionSpec
from segue_planner.planner import Planner
from segue_renderer.sketch.backend import SketchBackend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from segue.renderer.v1 import renderer_pb2_grpc
    from segue_music.plan import Plan
    from segue_renderer.sketch.sampled.pack import VoicePack

MIX = ""
KEPT = frozen.load()


@dataclass
class Rendered:
    """All answers of one call; every chunk is checked when it arrives."""

    accepted: renderer_pb2.RenderAccepted | None = None
    finished: renderer_pb2.RenderFinished | None = None
    notes: list[Note] = field(default_factory=list)
    content: dict[str, bytearray] = field(default_factory=dict)

    def take(self, message: renderer_pb2.RenderSectionResponse, start: renderer_pb2.RenderStart) -> None:
        """Take one message and check its order and its claims."""
        kind = message.WhichOneof("message")
        assert self.finished is None, "finished is the last message"
        assert (kind == "accepted") == (self.accepted is None), "accepted is the first message, once"
        if kind == "accepted":
            self.accepted = message.accepted
        elif kind == "notes":
            self.notes.extend(codec.from_message(Note, note) for note in message.notes.notes)
        elif kind == "finished":
            self.finished = message.finished
        elif kind == "audio":
            audio = message.audio
            content = self.content.setdefault(audio.layer, bytearray())
            assert self.accepted is not None
            assert audio.format == self.accepted.format
            assert audio.first_frame * 8 == len(content), "frames are contiguous"
            assert len(audio.data) == audio.frames * 8 <= 262_144
            assert google_crc32c.value(audio.data) == audio.crc32c
            assert (audio.section_id, audio.take) == (start.spec.section_id, start.take_key)
            content += audio.data

    def samples(self, layer: str = MIX) -> NDArray[np.float32]:
        """Return the audio of the mix or a stem."""
        return np.frombuffer(bytes(self.content[layer]), "<f4").reshape(-1, 2)

    def digests(self) -> dict[str, str]:
        """Return the digest of the mix and each stem."""
        return {layer: hashlib.sha256(content).hexdigest() for layer, content in sorted(self.content.items())}


def plan_of(prompt: str, **given: Any) -> Plan:
    """Return a stored plan, or make one with the real planner."""
    kept = KEPT.get(frozen.name_of(prompt, given))
    return kept or Planner(Brief(prompt=prompt, **given)).plan()


def section(prompt: str, section_id: str, **given: Any) -> SectionSpec:
    """Return one section of a plan."""
    plan = plan_of(prompt, **given)
    return next(item.spec for item in plan.sections if item.spec.section_id == section_id)


def start_of(spec: SectionSpec, seed: int = 7, **given: Any) -> renderer_pb2.RenderStart:
    """Return the request for a section."""
    return renderer_pb2.RenderStart(spec=codec.section_to_message(spec), seed=seed, take_key="take", attempt=1, **given)


@asynccontextmanager
async def renderer(
    tmp_path: Path, slots: int = 1, pack: VoicePack | None = None
) -> AsyncIterator[tuple[renderer_pb2_grpc.RendererServiceAsyncStub, SketchBackend]]:
    """Serve the sketch backend on a socket, with sampled voices if there is a pack."""
    backend = SketchBackend(slots, lambda: pack)
    async with served(backend, tmp_path) as stub:
        yield stub, backend


async def play(stub: Any, start: renderer_pb2.RenderStart) -> Rendered:
    """Render a whole section."""
    rendered = Rendered()
    async for message in stub.RenderSection(requests(start)):
        rendered.take(message, start)
    assert rendered.finished is not None
    return rendered


def requests(
    start: renderer_pb2.RenderStart, *more: renderer_pb2.RenderSectionRequest
) -> Iterator[renderer_pb2.RenderSectionRequest]:
    """Return the messages of a call."""
    return iter([renderer_pb2.RenderSectionRequest(start=start), *more])
