"""Small ways to play with a diffusion model behind a real gRPC channel, for tests."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from tests.diffusion.tiny_models import RATE
from tests.engine.serving import SPEC, Rendered, play, sound_messages, start_of
from tests.renderer.renderer_server import served

from segue_renderer.diffusion.backend import DiffusionBackend
from segue_runtime.settings import DiffusionSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from numpy.typing import NDArray

START_FIELDS = ("overlap_frames", "guide_kind", "layer_task", "task_layer")


@asynccontextmanager
async def serving(
    folder: Path, tmp_path: Path, *, longest_s: float = 0.0, steps: int = 2, **given: Any
) -> AsyncIterator[tuple[Any, DiffusionBackend]]:
    """Serve a model on a socket."""
    settings = DiffusionSettings(model=str(folder), steps=steps, **given)
    backend = DiffusionBackend(settings, longest_s=longest_s)
    async with served(backend, tmp_path) as stub:
        yield stub, backend


async def render(
    stub: Any, *, seed: int = 7, clips: dict[str, NDArray[np.float32]] | None = None, **given: Any
) -> Rendered:
    """Render a section of one second; `clips` are its conditioning, following, guide and mix."""
    clips = clips or {}
    start_fields = {name: given.pop(name) for name in START_FIELDS if name in given}
    spec = replace(SPEC, **given)
    frames = {f"{kind}_frames": len(clip) for kind, clip in clips.items()}
    messages = [message for kind, clip in clips.items() for message in sound_messages(kind, clip)]
    return await play(stub, start_of(spec, seed, **frames, **start_fields), *messages)


def clip(seconds: float, seed: int = 1, channels: int = 2) -> NDArray[np.float32]:
    chance = np.random.default_rng(seed)
    return (chance.standard_normal((round(seconds * RATE), channels)) * 0.1).astype(np.float32)
