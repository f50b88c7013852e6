"""The tune that sections follow: a file that somebody sent, cut where each section begins, or the band's melody."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Final, Self

import numpy as np

from segue.renderer.v1 import renderer_pb2
from segue_audio.decoder.decoded_file import DecodedFile
from segue_audio.errors import AudioError
from segue_audio.resample import StreamResampler
from segue_composition.artifact_keys import artifact_key
from segue_runtime import errors
from segue_runtime.rpc.chunks import cut, f32le

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue.music.v1.music_pb2 import PlannedSection
    from segue_audio.arrays import Float32
    from segue_conductor.composition_job import Context

FRAME_BYTES: Final = 4
READ_FRAMES: Final = 262_144
BAND: Final = "band"


@dataclass(frozen=True)
class Guide:
    """What one section follows. `digest` tells it from others in the key of a take; empty: it follows nothing."""

    digest: str = ""
    is_band: bool = False
    first_frame: int = 0
    frames: int = 0
    sample_rate: int = 0
    sound: IO[bytes] | None = None

    def messages(self) -> Iterator[renderer_pb2.RenderSectionRequest]:
        """Give its sound as the renderer wants it."""
        for position, audio in self.pieces():
            for piece in cut(audio, f32le(self.sample_rate, 1), position):
                yield renderer_pb2.RenderSectionRequest(guide=piece)

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Give its sound with the place of each piece."""
        if self.sound is None:
            return
        for position in range(0, self.frames, READ_FRAMES):
            length = min(READ_FRAMES, self.frames - position) * FRAME_BYTES
            yield position, os.pread(self.sound.fileno(), length, (self.first_frame + position) * FRAME_BYTES)


class Melody:
    """The tune of one composition. A file is decoded once, into a file that goes when this is left."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._asked = context.spec.melody
        self._rate = context.player.profile.sample_rate or context.plan.sample_rate
        self._sound: IO[bytes] | None = None
        self._frames = 0
        self._decoding = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sound is not None:
            self._sound.close()

    async def guide(self, section: PlannedSection) -> Guide:
        """Return what a section follows."""
        if self._asked.band:
            return Guide(BAND, is_band=True)
        if not self._asked.source:
            return Guide()
        async with self._decoding:
            if self._sound is None:
                await self._decode()
        first = self._place(section.first_frame)
        last = min(self._place(section.first_frame + section.spec.frames), self._frames)
        if first >= last:
            return Guide()
        found = Guide(first_frame=first, frames=last - first, sample_rate=self._rate, sound=self._sound)
        digest = hashlib.sha256()
        for _, audio in found.pieces():
            digest.update(audio)
        return replace(found, digest=digest.hexdigest())

    def _place(self, frame: int) -> int:
        return round(frame * self._rate / self._context.plan.sample_rate)

    async def _decode(self) -> None:
        """Bring the file to one channel at the model's rate. It may be hostile: a child process decodes it."""
        sound = tempfile.TemporaryFile(prefix="segue-melody-")  # noqa: SIM115  it is closed when the composition is left
        needed = self._place(self._context.plan.frames)
        try:
            async with (
                self._context.artifacts.local_copy(artifact_key(self._asked.source)) as path,
                DecodedFile(path) as decoded,
            ):
                resampler = StreamResampler(decoded.sample_rate, self._rate, 1)
                async for block in decoded.blocks():
                    self._frames += await asyncio.to_thread(_write, sound, resampler.push(_mono(block)))
                    if self._frames >= needed:
                        break
                else:
                    self._frames += await asyncio.to_thread(_write, sound, resampler.finish())
        except AudioError as error:
            sound.close()
            raise errors.InvalidAudio(f"spec.melody.source: {error}") from None
        except BaseException:
            sound.close()
            raise
        self._sound = sound


def _mono(block: Float32) -> Float32:
    return np.asarray(block.mean(axis=1, dtype=np.float32)[:, None])


def _write(sound: IO[bytes], block: Float32) -> int:
    sound.write(block.tobytes())
    sound.flush()
    return len(block)
