"""The melody that sections follow: an uploaded file, cut at the sections' boundaries, or the band's own melody."""

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
from segue_composition.artifact_keys import source_ref
from segue_runtime import errors
from segue_runtime.artifacts import verified_copy
from segue_runtime.rpc.chunks import cut, f32le

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue.music.v1.music_pb2 import PlannedSection
    from segue.renderer.v1.renderer_pb2 import ModelProfile
    from segue_audio.arrays import Float32
    from segue_conductor.composition_job import CompositionJob

FRAME_BYTES: Final = 4
READ_FRAMES: Final = 262_144
BAND: Final = "band"


@dataclass(frozen=True)
class Guide:
    """The melody of one section. `digest` is part of the take's key; it is empty without a melody."""

    digest: str = ""
    is_band: bool = False
    first_frame: int = 0
    frames: int = 0
    sample_rate: int = 0
    file: IO[bytes] | None = None

    def messages(self) -> Iterator[renderer_pb2.RenderSectionRequest]:
        """Yield the audio as requests to the renderer."""
        for position, audio in self.pieces():
            for piece in cut(audio, f32le(self.sample_rate, 1), position):
                yield renderer_pb2.RenderSectionRequest(guide=piece)

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Yield the audio in pieces, each with its first frame."""
        if self.file is None:
            return
        for position in range(0, self.frames, READ_FRAMES):
            length = min(READ_FRAMES, self.frames - position) * FRAME_BYTES
            yield position, os.pread(self.file.fileno(), length, (self.first_frame + position) * FRAME_BYTES)


@dataclass(frozen=True)
class _DecodedMelody:
    """A melody of one channel in a temporary file, at one model's rate."""

    file: IO[bytes]
    frames: int
    sample_rate: int


class Melody:
    """The melody of one composition. A file is decoded once for each rate, into temporary files that are deleted at the
    end.
    """

    def __init__(self, job: CompositionJob) -> None:
        self._job = job
        self._spec = job.spec.melody
        self._decoded: dict[int, _DecodedMelody] = {}
        self._decoding = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for decoded in self._decoded.values():
            decoded.file.close()

    async def guide(self, section: PlannedSection, profile: ModelProfile) -> Guide:
        """Return the melody of a section for the model that renders it."""
        if self._spec.band:
            return Guide(BAND, is_band=True)
        if not self._spec.source:
            return Guide()
        rate = profile.sample_rate or self._job.plan.sample_rate
        async with self._decoding:
            if rate not in self._decoded:
                self._decoded[rate] = await self._decode(rate)
        melody = self._decoded[rate]
        first = self._frame_at(section.first_frame, rate)
        last = min(self._frame_at(section.first_frame + section.spec.frames, rate), melody.frames)
        if first >= last:
            return Guide()
        found = Guide(first_frame=first, frames=last - first, sample_rate=rate, file=melody.file)
        digest = hashlib.sha256()
        for _, audio in found.pieces():
            digest.update(audio)
        return replace(found, digest=digest.hexdigest())

    def _frame_at(self, frame: int, rate: int) -> int:
        return round(frame * rate / self._job.plan.sample_rate)

    async def _decode(self, rate: int) -> _DecodedMelody:
        """Convert the file to one channel at a model's rate. A child process decodes it, since it may be hostile."""
        source = await source_ref(self._job.claim.store, self._spec.source)
        file = tempfile.TemporaryFile(prefix="segue-melody-")  # noqa: SIM115  it is closed at the end of the composition
        needed, frames = self._frame_at(self._job.plan.frames, rate), 0
        try:
            async with (
                verified_copy(self._job.claim.artifacts, source) as path,
                DecodedFile(path) as decoded,
            ):
                resampler = StreamResampler(decoded.sample_rate, rate, 1)
                async for block in decoded.blocks():
                    frames += await asyncio.to_thread(_write, file, resampler.push(_mono(block)))
                    if frames >= needed:
                        break
                else:
                    frames += await asyncio.to_thread(_write, file, resampler.finish())
        except AudioError as error:
            file.close()
            raise errors.InvalidAudio(f"spec.melody.source: {error}") from None
        except BaseException:
            file.close()
            raise
        return _DecodedMelody(file, frames, rate)


def _mono(block: Float32) -> Float32:
    return np.asarray(block.mean(axis=1, dtype=np.float32)[:, None])


def _write(file: IO[bytes], block: Float32) -> int:
    file.write(block.tobytes())
    file.flush()
    return len(block)
