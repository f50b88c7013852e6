"""The inputs of a take besides the section's spec, the model and the seed: overlap, neighbours' audio and guide."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue.music.v1 import music_pb2
from segue_audio.resample import StreamResampler
from segue_composition.log_rows import BYTES_PER_SAMPLE
from segue_conductor.render.take_store import take_key
from segue_music.codec import section_seed

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

    from segue.audio.v1.audio_pb2 import AudioFormat
    from segue.music.v1.music_pb2 import Plan, PlannedSection
    from segue.renderer.v1.renderer_pb2 import ModelProfile, RenderFinished
    from segue_conductor.composition_job import CompositionJob
    from segue_conductor.render.melody import Guide
    from segue_conductor.render.take_store import Take

DEFAULT_CROSSFADE_BEATS: Final = 1.0
RING_OUT_S: Final = 2.0
"""How long a section may ring into the next one at a hard join."""
READ_FRAMES: Final = 16_384
MAX_CLIP_FRAMES: Final = 5_760_000
"""The contract's limit for the audio of a neighbour."""


@dataclass(frozen=True)
class TakeInputs:
    """The inputs of one section's takes. They stay the same in every attempt."""

    section: PlannedSection
    profile: ModelProfile
    """The model that renders the section."""
    conditioning: bytes
    """The end of the take before, as F32LE at the model's rate and channels; empty without."""
    following: bytes
    """The start of the next section's take, in the same format; empty without."""
    guide: Guide
    overlap_frames: int

    @property
    def conditioning_frames(self) -> int:
        """The length of the conditioning."""
        return self._frames_of(self.conditioning)

    @property
    def following_frames(self) -> int:
        """The length of the next section's start."""
        return self._frames_of(self.following)

    def _frames_of(self, audio: bytes) -> int:
        return len(audio) // (max(1, self.profile.channels) * BYTES_PER_SAMPLE)

    def unused(self, finished: RenderFinished) -> list[music_pb2.Warning]:
        """Return a warning for each input that the renderer took and did not use."""
        if not self.following or finished.following_applied:
            return []
        text = f"{self.profile.model} did not use the start of the next section; the join may be heard"
        return [music_pb2.Warning(code="following_not_used", text=text)]

    def key(self, seed: int) -> str:
        """Return the key of the take with this seed."""
        return take_key(
            self.section.spec,
            self.profile,
            seed,
            overlap_frames=self.overlap_frames,
            conditioning_digest=_digest(self.conditioning),
            following_digest=_digest(self.following),
            guide_digest=self.guide.digest,
        )


def _digest(audio: bytes) -> str:
    return hashlib.sha256(audio).hexdigest() if audio else ""


def seed_of(plan: Plan, section: PlannedSection) -> int:
    """Return the seed of a section's take."""
    return section.seed if section.HasField("seed") else section_seed(plan.seed, section.spec.section_id)


def overlap_frames(job: CompositionJob, index: int) -> int:
    """Return how far a take continues beyond its section, for the crossfade into the next one.

    A take that does not keep to the plan's beat may be shifted for the join, by half a beat at most.
    """
    sections = job.plan.sections
    locked = job.profile_of(sections[index].spec).gives_notes
    beat_frames = job.timings[sections[index].spec.section_id].first_beat_frames
    spare = 0 if locked else round(beat_frames / 2)
    if index + 1 >= len(sections):
        return int(sections[index].spec.tail_frames) + spare
    following = sections[index + 1]
    if following.join.kind == music_pb2.JOIN_KIND_HARD:
        if following.spec.continuity == music_pb2.CONTINUITY_TAIL:
            return 0  # the next section continues from the very end of this take
        return round(RING_OUT_S * following.spec.sample_rate)
    beats = following.join.beats if following.join.HasField("beats") else DEFAULT_CROSSFADE_BEATS
    return round(beats * job.timings[following.spec.section_id].first_beat_frames) + spare


def needs_conditioning(job: CompositionJob, index: int) -> bool:
    """Return whether a section continues the audio of the one before, and its model can do so."""
    spec = job.plan.sections[index].spec
    takes = job.profile_of(spec).HasField("conditioning")
    return index > 0 and spec.continuity == music_pb2.CONTINUITY_TAIL and takes


async def read_conditioning(before: Take, profile: ModelProfile, sample_rate: int) -> bytes:
    """Return the end of the take before, as long as the model wants it."""
    finished = await before.wait_finished()
    frames = min(finished.frames, await _frames_in(profile.conditioning, before, sample_rate))
    return await _read_clip(before, finished.frames - frames, finished.frames, profile, sample_rate)


async def read_following(after: Take, shift_s: float, profile: ModelProfile, sample_rate: int) -> bytes:
    """Return the start of the take after, as long as the model wants it.

    `shift_s` is how far the mixer moves that take; later is positive. What is moved to before the border is not heard.
    """
    finished, accepted = await after.wait_finished(), await after.wait_accepted()
    first = min(finished.frames, max(0, round(-shift_s * accepted.format.sample_rate)))
    frames = await _frames_in(profile.following, after, sample_rate)
    return await _read_clip(after, first, min(finished.frames, first + frames), profile, sample_rate)


async def _frames_in(length: Duration, take: Take, sample_rate: int) -> int:
    """Return a length in frames of a take, at most what a call of the renderer may bring."""
    rate = (await take.wait_accepted()).format.sample_rate
    return min(round(length.ToNanoseconds() / 1e9 * rate), MAX_CLIP_FRAMES * rate // max(rate, sample_rate))


async def _read_clip(take: Take, first: int, end: int, profile: ModelProfile, sample_rate: int) -> bytes:
    """Return a part of a take.

    Another model may have made the take: its audio is converted to `sample_rate` and the model's channels.
    """
    form = (await take.wait_accepted()).format
    pieces: list[bytes] = []
    while first < end:
        pieces.append(await take.read(first, min(READ_FRAMES, end - first)))
        first += len(pieces[-1]) // take.frame_bytes
    audio, channels = b"".join(pieces), profile.channels or form.channels
    if (sample_rate, channels) == (form.sample_rate, form.channels):
        return audio
    return await asyncio.to_thread(_converted, audio, form, sample_rate, channels)


def _converted(audio: bytes, was: AudioFormat, sample_rate: int, channels: int) -> bytes:
    samples = np.frombuffer(audio, np.float32).reshape(-1, was.channels)
    if channels < was.channels:
        samples = samples.mean(axis=1, dtype=np.float32, keepdims=True)
    resampler = StreamResampler(was.sample_rate, sample_rate, samples.shape[1])
    found = np.concatenate((resampler.push(samples), resampler.finish()))
    return np.repeat(found, channels // found.shape[1], axis=1).astype(np.float32).tobytes()
