"""What sections follow besides the prompt: a melody, cut at their boundaries, or a sound that they imitate."""

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
from segue_composition.section_models import can_follow, can_imitate, follows_file
from segue_conductor.render.take_clips import read_clip
from segue_runtime import errors
from segue_runtime.artifacts import verified_copy
from segue_runtime.rpc.chunks import cut, f32le

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from segue.music.v1.music_pb2 import PlannedSection
    from segue.renderer.v1.renderer_pb2 import ModelProfile
    from segue_audio.arrays import Float32
    from segue_conductor.composition_job import CompositionJob
    from segue_conductor.render.take_store import Take

SAMPLE_BYTES: Final = 4
READ_FRAMES: Final = 262_144
BAND: Final = "band"
TIMBRE_S: Final = 120
"""The longest sound to imitate; what comes after is not sent. Models use half a minute."""
MOST_CHANNELS: Final = 2


@dataclass(frozen=True)
class _GuideFile:
    """Decoded audio in a temporary file."""

    file: IO[bytes]
    frames: int
    sample_rate: int
    channels: int = 1


@dataclass(frozen=True)
class Guide:
    """What one section follows. `digest` is part of the take's key; it is empty without a guide."""

    digest: str = ""
    is_band: bool = False
    kind: renderer_pb2.Guide.ValueType = renderer_pb2.GUIDE_UNSPECIFIED
    """What the audio is, if it is not a melody."""
    first_frame: int = 0
    frames: int = 0
    audio: _GuideFile | None = None

    def messages(self) -> Iterator[renderer_pb2.RenderSectionRequest]:
        """Yield the audio as requests to the renderer."""
        for position, content in self.pieces():
            if self.audio is not None:
                for piece in cut(content, f32le(self.audio.sample_rate, self.audio.channels), position):
                    yield renderer_pb2.RenderSectionRequest(guide=piece)

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Yield the audio in pieces, each with its first frame."""
        if self.audio is None:
            return
        frame_bytes = SAMPLE_BYTES * self.audio.channels
        for position in range(0, self.frames, READ_FRAMES):
            length = min(READ_FRAMES, self.frames - position) * frame_bytes
            yield position, os.pread(self.audio.file.fileno(), length, (self.first_frame + position) * frame_bytes)

    def audio_digest(self) -> str:
        """Return the digest of the audio."""
        digest = hashlib.sha256()
        for _, content in self.pieces():
            digest.update(content)
        return digest.hexdigest()


class Guides:
    """The guides of one composition. Audio is decoded once for each rate, into files that are deleted at the end."""

    def __init__(self, job: CompositionJob, takes: Mapping[str, Take]) -> None:
        self._job = job
        self._takes = takes
        self._spec = job.spec.melody
        self._decoded: dict[tuple[str, int, int], _GuideFile] = {}
        self._decoding = asyncio.Lock()
        self._digests: dict[_GuideFile | None, str] = {}
        """Of the sounds to imitate, which several sections have."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for decoded in self._decoded.values():
            decoded.file.close()

    async def guide(self, section: PlannedSection, profile: ModelProfile) -> Guide:
        """Return what a section follows, for the model that renders it."""
        melody = Guide()
        if can_follow(self._job.spec, profile):  # otherwise the plan has a warning
            melody = await self._melody(section, profile)
        if not can_imitate(profile) or follows_file(self._job.spec, profile):
            return melody
        timbre = await self._timbre(section, profile)
        if timbre is None:
            return melody
        if timbre.audio not in self._digests:
            self._digests[timbre.audio] = await asyncio.to_thread(timbre.audio_digest)
        digest = "+".join(filter(None, (melody.digest, f"timbre-{self._digests[timbre.audio]}")))
        return replace(timbre, digest=digest, is_band=melody.is_band)

    async def _melody(self, section: PlannedSection, profile: ModelProfile) -> Guide:
        if self._spec.band:
            return Guide(BAND, is_band=True)
        if not self._spec.source:
            return Guide()
        rate = self._rate_of(profile)
        needed_s = self._job.plan.frames / self._job.plan.sample_rate
        audio = await self._of_file("spec.melody.source", self._spec.source, rate, 1, needed_s)
        first = self._frame_at(section.first_frame, rate)
        last = min(self._frame_at(section.first_frame + section.spec.frames, rate), audio.frames)
        if first >= last:
            return Guide()
        found = Guide(first_frame=first, frames=last - first, audio=audio)
        return replace(found, digest=found.audio_digest())

    async def _timbre(self, section: PlannedSection, profile: ModelProfile) -> Guide | None:
        """Return the sound that a section imitates: an earlier section's, or that of a file."""
        rate, channels = self._rate_of(profile), min(MOST_CHANNELS, profile.channels or MOST_CHANNELS)
        imitated, source = section.spec.timbre_section, self._job.spec.timbre_source
        take = self._takes.get(imitated)  # it is rendered, unless it was left out
        if take is not None:
            audio = await self._of_take(take, rate, channels)
        elif source and not imitated:
            audio = await self._of_file("spec.timbre_source", source, rate, channels, TIMBRE_S)
        else:
            return None
        return Guide(kind=renderer_pb2.GUIDE_TIMBRE_AUDIO, frames=audio.frames, audio=audio) if audio.frames else None

    def _rate_of(self, profile: ModelProfile) -> int:
        return profile.sample_rate or self._job.plan.sample_rate

    def _frame_at(self, frame: int, rate: int) -> int:
        return round(frame * rate / self._job.plan.sample_rate)

    async def _of_take(self, take: Take, rate: int, channels: int) -> _GuideFile:
        key = (take.key, rate, channels)
        async with self._decoding:
            if key not in self._decoded:
                finished, accepted = await take.wait_finished(), await take.wait_accepted()
                end = min(finished.frames, TIMBRE_S * accepted.format.sample_rate)
                content = await read_clip(take, 0, end, channels, rate)
                file = tempfile.TemporaryFile(prefix="segue-guide-")  # noqa: SIM115  it is closed by __aexit__
                await asyncio.to_thread(_write, file, np.frombuffer(content, np.float32).reshape(-1, channels))
                self._decoded[key] = _GuideFile(file, len(content) // (SAMPLE_BYTES * channels), rate, channels)
            return self._decoded[key]

    async def _of_file(self, field: str, source: str, rate: int, channels: int, needed_s: float) -> _GuideFile:
        """Convert a file to a model's rate and channels. A child process decodes it, since it may be hostile."""
        key = (source, rate, channels)
        async with self._decoding:
            if key not in self._decoded:
                file = tempfile.TemporaryFile(prefix="segue-guide-")  # noqa: SIM115  it is closed by __aexit__
                try:
                    frames = await self._decode(source, file, rate, channels, round(needed_s * rate))
                except BaseException as error:
                    file.close()
                    if isinstance(error, AudioError):
                        raise errors.InvalidAudio(f"{field}: {error}") from None
                    raise
                self._decoded[key] = _GuideFile(file, frames, rate, channels)
            return self._decoded[key]

    async def _decode(self, source: str, file: IO[bytes], rate: int, channels: int, needed: int) -> int:
        frames, convert = 0, _mono if channels == 1 else _stereo
        async with (
            verified_copy(self._job.claim.artifacts, await source_ref(self._job.claim.store, source)) as path,
            DecodedFile(path) as decoded,
        ):
            resampler = StreamResampler(decoded.sample_rate, rate, channels)
            async for block in decoded.blocks():
                frames += await _resampled(file, resampler.push, convert(block))
                if frames >= needed:
                    return min(frames, needed)
            return min(frames + await asyncio.to_thread(_write, file, resampler.finish()), needed)


async def _resampled(file: IO[bytes], push: Callable[[Float32], Float32], block: Float32) -> int:
    return await asyncio.to_thread(lambda: _write(file, push(block)))


def _mono(block: Float32) -> Float32:
    return np.asarray(block.mean(axis=1, dtype=np.float32)[:, None])


def _stereo(block: Float32) -> Float32:
    return block if block.shape[1] == MOST_CHANNELS else np.repeat(_mono(block), MOST_CHANNELS, axis=1)


def _write(file: IO[bytes], block: Float32) -> int:
    file.write(block.tobytes())
    file.flush()
    return len(block)
