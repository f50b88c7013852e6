"""Parts of takes as inputs of other takes: the audio of neighbours, and of sections whose sound is imitated."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_audio.resample import StreamResampler

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

    from segue.audio.v1.audio_pb2 import AudioFormat
    from segue.renderer.v1.renderer_pb2 import ModelProfile
    from segue_conductor.render.take_store import Take

READ_FRAMES: Final = 16_384
MAX_CLIP_FRAMES: Final = 5_760_000
"""The contract's limit for the audio of a neighbour."""


async def read_conditioning(before: Take, profile: ModelProfile, sample_rate: int) -> bytes:
    """Return the end of the take before, as long as the model wants it."""
    finished = await before.wait_finished()
    frames = min(finished.frames, await _frames_in(profile.conditioning, before, sample_rate))
    return await read_clip(before, finished.frames - frames, finished.frames, profile.channels, sample_rate)


async def read_following(after: Take, shift_s: float, profile: ModelProfile, sample_rate: int) -> bytes:
    """Return the start of the take after, as long as the model wants it.

    `shift_s` is how far the mixer moves that take; later is positive. What is moved to before the border is not heard.
    """
    finished, accepted = await after.wait_finished(), await after.wait_accepted()
    first = min(finished.frames, max(0, round(-shift_s * accepted.format.sample_rate)))
    frames = await _frames_in(profile.following, after, sample_rate)
    return await read_clip(after, first, min(finished.frames, first + frames), profile.channels, sample_rate)


async def _frames_in(length: Duration, take: Take, sample_rate: int) -> int:
    """Return a length in frames of a take, at most what a call of the renderer may bring."""
    rate = (await take.wait_accepted()).format.sample_rate
    return min(round(length.ToNanoseconds() / 1e9 * rate), MAX_CLIP_FRAMES * rate // max(rate, sample_rate))


async def read_clip(take: Take, first: int, end: int, channels: int, sample_rate: int) -> bytes:
    """Return a part of a take as F32LE; 0 channels are those of the take.

    Another model may have made the take: its audio is converted to `sample_rate` and `channels`.
    """
    form = (await take.wait_accepted()).format
    pieces: list[bytes] = []
    while first < end:
        pieces.append(await take.read(first, min(READ_FRAMES, end - first)))
        first += len(pieces[-1]) // take.frame_bytes
    audio, channels = b"".join(pieces), channels or form.channels
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
