"""A renderer that waits instead of computing: `python -m tests.mesh.waiting_renderer ADDRESS FOLDER SECONDS`."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tests.renderer.renderer_server import listening

from segue.audio.v1 import audio_pb2
from segue.renderer.v1 import renderer_pb2, renderer_pb2_grpc
from segue_runtime.rpc.chunks import cut, f32le

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Responses = AsyncIterator[renderer_pb2.RenderSectionResponse]

TONE_HZ = 220.0


async def at_once(_start: renderer_pb2.RenderStart) -> None:
    """Do not wait."""


class WaitingRenderer(renderer_pb2_grpc.RendererServiceServicer):
    """Answers each section with a tone, after `wait`. It has as many slots as it says, and fails if more are used."""

    def __init__(
        self,
        wait: Callable[[renderer_pb2.RenderStart], Awaitable[None]] = at_once,
        *,
        slots: int = 1,
        model: str = "waits",
        engine_version: str = "1",
        speed: float = 0.0,
    ) -> None:
        self.wait = wait
        self.profile = renderer_pb2.ModelProfile(
            model=model,
            backend="waits",
            engine_version=engine_version,
            channels=2,
            gives_notes=True,
            real_time_factor=speed,
        )
        self.playing = self.profile
        """What RenderAccepted names."""
        self.status = renderer_pb2.GetStatusResponse(slots=slots, models=[self.profile], device="none")
        self.starts: list[renderer_pb2.RenderStart] = []
        self.num_running = 0
        self.most_running = 0
        self.address = ""

    async def GetStatus(self, request: Any, context: Any) -> renderer_pb2.GetStatusResponse:  # noqa: ARG002, N802 - the contract's signature
        """Report the status as the test set it."""
        return self.status

    async def ListModels(self, request: Any, context: Any) -> renderer_pb2.ListModelsResponse:  # noqa: ARG002, N802 - the contract's signature
        """List the models of the status."""
        return renderer_pb2.ListModelsResponse(models=self.status.models)

    async def RenderSection(self, request_iterator: AsyncIterator[Any], context: Any) -> Responses:  # noqa: ARG002, N802 - the contract's signature
        """Wait, then send a tone."""
        start = (await anext(request_iterator)).start
        self.starts.append(start)
        self.num_running += 1
        self.most_running = max(self.most_running, self.num_running)
        try:
            rate = start.spec.sample_rate
            sound = f32le(rate, 2)
            accepted = renderer_pb2.RenderAccepted(profile=self.playing, format=sound.format, sample_locked=True)
            yield renderer_pb2.RenderSectionResponse(accepted=accepted)
            await self.wait(start)
            frames = start.spec.frames + start.overlap_frames
            tone = 0.1 * np.sin(2 * np.pi * TONE_HZ * np.arange(frames, dtype=np.float64) / rate)
            sound.section_id, sound.stage = start.spec.section_id, audio_pb2.STAGE_TAKE
            for chunk in cut(np.repeat(tone, 2).astype("<f4").tobytes(), sound):
                yield renderer_pb2.RenderSectionResponse(audio=chunk)
            finished = renderer_pb2.RenderFinished(frames=start.spec.frames, tail_frames=start.overlap_frames)
            yield renderer_pb2.RenderSectionResponse(finished=finished)
        finally:
            self.num_running -= 1


@contextlib.asynccontextmanager
async def waiting_renderers(folder: Path, *renderers: WaitingRenderer) -> AsyncIterator[str]:
    """Serve renderers on free ports; yields their addresses as the setting has them."""
    async with contextlib.AsyncExitStack() as stack:
        for each in renderers:
            each.address = await stack.enter_async_context(listening(each, folder))
        yield ",".join(each.address for each in renderers)


async def main() -> None:
    """Serve until killed."""
    seconds = float(sys.argv[3])
    async with listening(WaitingRenderer(lambda _start: asyncio.sleep(seconds)), Path(sys.argv[2]), sys.argv[1]):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
