"""Everything that one call answered, collected without judging it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from segue.renderer.v1 import renderer_pb2

if TYPE_CHECKING:
    from segue.audio.v1 import audio_pb2
    from segue_audio.arrays import Float32

MIX = ""


@dataclass
class Rendering:
    """The messages of one call, or of one of its takes, in order."""

    start: renderer_pb2.RenderStart
    kinds: list[str] = field(default_factory=list)
    accepted: renderer_pb2.RenderAccepted = field(default_factory=renderer_pb2.RenderAccepted)
    finished: renderer_pb2.RenderFinished = field(default_factory=renderer_pb2.RenderFinished)
    progress: list[renderer_pb2.RenderProgress] = field(default_factory=list)
    chunks: list[audio_pb2.AudioChunk] = field(default_factory=list)
    notes: list[Any] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def layers(self) -> list[str]:
        """The layers of the audio, in the order of their first chunks."""
        return list(dict.fromkeys(chunk.layer for chunk in self.chunks))

    @property
    def channels(self) -> int:
        """The channels of the accepted format, at least 1."""
        return max(1, self.accepted.format.channels)

    def content(self, layer: str = MIX) -> bytes:
        """Return the bytes of a layer."""
        return b"".join(chunk.data for chunk in self.chunks if chunk.layer == layer)

    def samples(self, layer: str = MIX) -> Float32:
        """Return a layer's samples of shape (frames, channels); incomplete frames are dropped."""
        content = self.content(layer)
        whole = len(content) // (4 * self.channels) * 4 * self.channels
        return np.frombuffer(content[:whole], "<f4").reshape(-1, self.channels)

    def add(self, response: renderer_pb2.RenderSectionResponse) -> None:
        """Add a message."""
        kind = response.WhichOneof("message") or ""
        self.kinds.append(kind)
        if kind == "accepted":
            self.accepted = response.accepted
        elif kind == "finished":
            self.finished = response.finished
        elif kind == "progress":
            self.progress.append(response.progress)
        elif kind == "audio":
            self.chunks.append(response.audio)
        elif kind == "notes":
            self.notes.extend(response.notes.notes)

    def warning_codes(self) -> list[str]:
        """Return the codes of the warnings."""
        return [warning.code for warning in self.finished.warnings]


async def collect(call: Any, start: renderer_pb2.RenderStart) -> Rendering:
    """Read a call of one take to its end."""
    rendering = Rendering(start)
    began = time.monotonic()
    async for response in call:
        rendering.add(response)
    rendering.seconds = time.monotonic() - began
    return rendering


async def collect_takes(call: Any, start: renderer_pb2.RenderStart) -> dict[int, Rendering]:
    """Read a call to its end, and return what came by its seed_index."""
    takes: dict[int, Rendering] = {}
    async for response in call:
        takes.setdefault(response.seed_index, Rendering(start)).add(response)
    return takes
