"""A backend that obeys a script: a profile with any abilities, and audio that depends on what it was given."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from segue_music.plan import Continuity, Determinism, ModelProfile
from segue_renderer.backend import (
    AudioClip,
    BackendStatus,
    RenderAccepted,
    RenderedAudio,
    RenderFinished,
    RenderProgress,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from numpy.typing import NDArray

    from segue_renderer.backend import RenderEvent, RenderRequest

RATE = 32_000
PROFILE = ModelProfile(
    model="scripted",
    backend="scripted",
    engine_version="scripted-1",
    sample_rate=RATE,
    channels=1,
    continuities=(Continuity.NONE,),
    determinism=Determinism.SEEDED,
    uses_prompt=True,
)
BLOCK_FRAMES = 6_400


class ScriptedBackend:
    """Plays a tone. `requests` are those that came; `fractions` are sent before the audio, each after `pause_s`.

    `longest_pause_s` tells whether this process was paused.
    """

    def __init__(
        self,
        *,
        ignores: tuple[str, ...] = (),
        fractions: tuple[float, ...] = (),
        pause_s: float = 0.0,
        **abilities: Any,
    ) -> None:
        self.profile = replace(PROFILE, **abilities)
        self.requests: list[RenderRequest] = []
        self._ignores = ignores
        self._fractions = fractions
        self._pause_s = pause_s
        self.longest_pause_s = 0.0

    @property
    def profiles(self) -> Sequence[ModelProfile]:
        return (self.profile,)

    async def describe(self) -> None: ...

    async def load(self) -> None: ...

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderEvent, None]:
        self.requests.append(request)
        spec = request.spec
        frames = round(spec.frames * RATE / spec.sample_rate)
        tail = round((request.overlap_frames + spec.tail_frames) * RATE / spec.sample_rate)
        yield RenderAccepted(self.profile, RATE, 1, sample_locked=True, declared_lufs=-18.0)
        for fraction in self._fractions:
            began = time.monotonic()
            await asyncio.sleep(self._pause_s)
            self.longest_pause_s = max(self.longest_pause_s, time.monotonic() - began)
            yield RenderProgress(0, frames, fraction=fraction)
        following = request.following if "following" not in self._ignores else None
        mix = request.mix if "mix" not in self._ignores else None
        sound = self.tone(replace(request, following=following, mix=mix), frames + tail)
        for first in range(0, frames + tail, BLOCK_FRAMES):
            yield RenderedAudio(first, sound[first : first + BLOCK_FRAMES, None])
        yield RenderFinished(
            frames,
            tail,
            conditioning_applied=request.conditioning is not None,
            following_applied=following is not None,
            guide_applied=request.guide is not None and "guide" not in self._ignores,
            lyrics_applied=spec.lyrics is not None and "lyrics" not in self._ignores,
        )

    @staticmethod
    def tone(request: RenderRequest, frames: int) -> NDArray[np.float32]:
        """Return the audio of a request."""
        loud = float(np.abs(request.following.samples).mean()) if request.following else 0.0
        loud += float(np.abs(request.mix.samples[:99]).mean()) if request.mix else 0.0
        pitch_hz = 110.0 * (1 + request.seed % 7)
        sound: NDArray[np.float32] = np.sin(2 * np.pi * pitch_hz / RATE * np.arange(frames)).astype(np.float32)
        return sound * np.float32(0.2 + 0.1 * loud)

    def status(self) -> BackendStatus:
        return BackendStatus(slots=2, busy_slots=0, queued=0)

    async def close(self) -> None: ...


def noise(frames: int, seed: int = 0) -> AudioClip:
    """Return quiet noise at the backend's rate."""
    samples = np.random.default_rng(seed).standard_normal((frames, 1)) * 0.1
    return AudioClip(samples.astype(np.float32), RATE)
