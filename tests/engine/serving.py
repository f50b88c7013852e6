"""A MusicGen renderer behind a real gRPC channel, for tests."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
from tests.engine.on_device import settings_of
from tests.renderer.renderer_server import served

from segue.audio.v1 import audio_pb2
from segue.renderer.v1 import renderer_pb2
from segue_music import codec
from segue_music.elements import Key, Metre, Mode, TempoPoint
from segue_music.plan import Role, SectionSpec
from segue_renderer.musicgen.backend import MusicgenBackend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

RATE = 12_800
HOP = 256
SPEC = SectionSpec(
    section_id="verse",
    role=Role.VERSE,
    bars=1,
    frames=RATE,
    sample_rate=RATE,
    metre=Metre(4, 4),
    key=Key("C", Mode.MAJOR),
    tempo_points=(TempoPoint(0, 240.0),),
    energy=(0.5,),
    prompt="rainy lo-fi, 82 bpm, F minor",
)


@dataclass
class Rendered:
    """All that one call answered."""

    channels: int = 1
    accepted: Any = None
    finished: Any = None
    order: list[str] = field(default_factory=list)
    content: bytearray = field(default_factory=bytearray)

    @property
    def samples(self) -> NDArray[np.float32]:
        return np.frombuffer(bytes(self.content), "<f4").reshape(-1, self.channels)

    @property
    def warnings(self) -> list[str]:
        return [warning.code for warning in self.finished.warnings]


@asynccontextmanager
async def serving(
    folder: Path, tmp_path: Path, *, window: int = 1500, stride: int = 900, **given: Any
) -> AsyncIterator[tuple[Any, MusicgenBackend]]:
    """Serve a checkpoint on a socket."""
    backend = MusicgenBackend(settings_of(folder, **given), window_frames=window, stride_frames=stride)
    async with served(backend, tmp_path) as stub:
        yield stub, backend


def start_of(spec: SectionSpec = SPEC, seed: int = 7, **given: Any) -> renderer_pb2.RenderStart:
    return renderer_pb2.RenderStart(spec=codec.section_to_message(spec), seed=seed, take_key="take", attempt=1, **given)


def noise(seconds: float, channels: int = 1, seed: int = 0) -> NDArray[np.float32]:
    chance = np.random.default_rng(seed)
    return (chance.standard_normal((round(seconds * RATE), channels)) * 0.1).astype(np.float32)


def sound_messages(kind: str, samples: NDArray[np.float32], rate: int = RATE) -> Iterator[Any]:
    """Cut sound into the messages of `conditioning` or `guide`."""
    for first in range(0, len(samples), 4000):
        piece = np.ascontiguousarray(samples[first : first + 4000], "<f4")
        chunk = audio_pb2.AudioChunk(
            format=audio_pb2.AudioFormat(
                sample_rate=rate, channels=samples.shape[1], sample_format=audio_pb2.SAMPLE_FORMAT_F32LE
            ),
            first_frame=first,
            frames=len(piece),
            data=piece.tobytes(),
            crc32c=google_crc32c.value(piece.tobytes()),
        )
        message = renderer_pb2.RenderSectionRequest()
        getattr(message, kind).CopyFrom(chunk)
        yield message


async def play(stub: Any, start: renderer_pb2.RenderStart, *more: Any) -> Rendered:
    """Render a section; every chunk's claims are asserted as it comes."""
    rendered = Rendered()
    async for message in stub.RenderSection(iter([renderer_pb2.RenderSectionRequest(start=start), *more])):
        kind = message.WhichOneof("message")
        rendered.order.append(kind)
        if kind == "accepted":
            rendered.accepted = message.accepted
            rendered.channels = message.accepted.format.channels
        elif kind == "audio":
            audio = message.audio
            assert audio.first_frame * 4 * rendered.channels == len(rendered.content), "frames are contiguous"
            assert len(audio.data) == audio.frames * 4 * rendered.channels
            rendered.content += audio.data
        elif kind == "finished":
            rendered.finished = message.finished
    assert rendered.order[0] == "accepted"
    assert rendered.order[-1] == "finished"
    assert rendered.finished.frames + rendered.finished.tail_frames == len(rendered.samples)
    return rendered
