"""A faulty renderer on a real port: the sketch band, with responses that the test changes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
from tests.renderer.renderer_server import listening

from segue.renderer.v1 import renderer_pb2
from segue_renderer.hosting.model_host import ModelHost
from segue_renderer.registry import band_melody
from segue_renderer.service import RendererService
from segue_renderer.sketch.backend import SketchBackend
from segue_runtime.rpc.server import KEEPALIVE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from segue_renderer.backend import Backend

    Response = renderer_pb2.RenderSectionResponse
    Responses = AsyncIterator[Response]
    Spoil = Callable[[int, renderer_pb2.RenderStart, Responses], Responses]


async def leave(_call: int, _start: renderer_pb2.RenderStart, responses: Responses) -> Responses:
    """Change nothing."""
    async for response in responses:
        yield response


class FaultyRenderer(RendererService):
    """Keeps its requests in `starts`. `spoil(call number from 1, start, responses)` changes its responses."""

    def __init__(self, backend: Backend, spoil: Spoil = leave) -> None:
        super().__init__(ModelHost.of(backend), band_melody)
        self.spoil = spoil
        self.starts: list[renderer_pb2.RenderStart] = []
        self.num_calls = 0
        self.num_open = 0
        self.address = ""

    async def RenderSection(self, request_iterator: AsyncIterator[Any], context: Any) -> Responses:  # noqa: N802 - the contract's name
        """Render, with changed responses."""

        start = renderer_pb2.RenderStart()

        async def seen() -> AsyncIterator[Any]:
            async for request in request_iterator:
                if request.WhichOneof("message") == "start":
                    start.CopyFrom(request.start)
                    self.starts.append(request.start)
                yield request

        self.num_calls += 1
        number = self.num_calls
        self.num_open += 1
        try:
            async with contextlib.aclosing(super().RenderSection(seen(), context)) as real:  # type: ignore[type-var]  # it is a generator
                first = await anext(real)

                async def from_first() -> Responses:
                    yield first
                    async for response in real:
                        yield response

                async for response in self.spoil(number, start, from_first()):
                    yield response
        finally:
            self.num_open -= 1

    async def idle(self) -> None:
        """Wait until no call is open: the cancellation has arrived."""
        async with asyncio.timeout(30):
            while self.num_open:  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def faulty_renderer(
    folder: Path, spoil: Spoil = leave, backend: Backend | None = None, keepalive_s: float = KEEPALIVE_S
) -> AsyncIterator[FaultyRenderer]:
    """Serve a faulty renderer on a free port."""
    backend = backend or SketchBackend()
    service = FaultyRenderer(backend, spoil)
    try:
        async with listening(service, folder, keepalive_s=keepalive_s) as service.address:
            yield service
    finally:
        await backend.close()


def changed(response: Response, change: Callable[[NDArray[np.float32]], object]) -> Response:
    """Return a chunk with changed samples and their checksum."""
    samples = np.frombuffer(response.audio.data, np.float32).copy()
    change(samples)
    response.audio.data = samples.tobytes()
    response.audio.crc32c = google_crc32c.value(response.audio.data)
    return response
