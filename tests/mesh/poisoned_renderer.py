"""A renderer process that dies of one prompt: `python -m tests.mesh.poisoned_renderer ADDRESS FOLDER`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mesh.faulty_renderer import FaultyRenderer
from tests.renderer.renderer_server import listening

from segue_renderer.sketch.backend import SketchBackend

if TYPE_CHECKING:
    from tests.mesh.faulty_renderer import Responses

    from segue.renderer.v1 import renderer_pb2

POISON = "poison"
CHUNK_S = 0.05
"""A section takes a while, so that others are in the renderer when it dies."""


async def die(_call: int, start: renderer_pb2.RenderStart, responses: Responses) -> Responses:
    """Render slowly; die in the middle of a section whose prompt has the word."""
    num_audio = 0
    async for response in responses:
        yield response
        if response.WhichOneof("message") == "audio":
            await asyncio.sleep(CHUNK_S)
            num_audio += 1
            if POISON in start.spec.prompt and num_audio == 3:
                os.kill(os.getpid(), signal.SIGKILL)


async def main() -> None:
    """Serve until killed."""
    async with listening(FaultyRenderer(SketchBackend(), die), Path(sys.argv[2]), sys.argv[1]):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
