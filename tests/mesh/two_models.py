"""A renderer backend with two models: the sketch band, and "hum", which differs from it in everything that a model may.

Hum has another sample rate and one channel, gives neither layers nor notes, and continues the audio before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segue_music.plan import Continuity, Determinism, ModelProfile
from segue_renderer.backend import BackendStatus, RenderAccepted, RenderedAudio, RenderFinished
from segue_renderer.sketch.backend import SketchBackend

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from segue_renderer.backend import RenderEvent, RenderRequest

HUM = ModelProfile(
    model="hum",
    backend="hum",
    model_digest="1" * 64,
    engine_version="hum-1",
    sample_rate=32_000,
    channels=1,
    continuities=(Continuity.NONE, Continuity.TAIL),
    determinism=Determinism.SEEDED,
    real_time_factor=10.0,
    weights_license="CC-BY-NC-4.0",
    conditioning_ns=500_000_000,
    max_duration_ns=60_000_000_000,
    uses_prompt=True,
)
BLOCK_FRAMES = 6_400


class TwoModels:
    """Sketch and hum in one renderer. `hummed` are the requests for hum."""

    def __init__(self) -> None:
        self._sketch = SketchBackend(slots=2)
        self.hummed: list[RenderRequest] = []

    @property
    def profiles(self) -> Sequence[ModelProfile]:
        return (*self._sketch.profiles, HUM)

    async def describe(self) -> None:
        await self._sketch.describe()

    async def load(self) -> None:
        await self._sketch.load()

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderEvent, None]:
        if request.model != HUM.model:
            async for event in self._sketch.render(request):
                yield event
            return
        self.hummed.append(request)
        spec, rate = request.spec, HUM.sample_rate
        frames = round(spec.frames * rate / spec.sample_rate)
        tail = round((request.overlap_frames + spec.tail_frames) * rate / spec.sample_rate)
        continues = request.conditioning is not None
        yield RenderAccepted(HUM, rate, HUM.channels, sample_locked=True, continuous=continues, declared_lufs=-18.0)
        pitch_hz = 110.0 * (1 + request.seed % 7)
        tone = 0.2 * np.sin(2 * np.pi * pitch_hz / rate * np.arange(frames + tail))
        for first in range(0, frames + tail, BLOCK_FRAMES):
            yield RenderedAudio(first, tone[first : first + BLOCK_FRAMES, None].astype(np.float32))
        yield RenderFinished(frames, tail, conditioning_applied=continues)

    def status(self) -> BackendStatus:
        return self._sketch.status()

    async def close(self) -> None:
        await self._sketch.close()
