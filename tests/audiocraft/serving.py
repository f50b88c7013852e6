"""An audiocraft renderer behind a real gRPC channel, for tests."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.renderer.renderer_server import served

from segue_renderer.audiocraft import factory
from segue_runtime.settings import Settings, replace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from segue_renderer.audiocraft.backend import AudiocraftBackend


def make_backend(folder: Path, home: Path) -> AudiocraftBackend:
    """Make a backend from settings, as `segued serve` does."""
    settings = replace(Settings(home=home), renderer__audiocraft__model=str(folder))
    return factory.make_backend(replace(settings, renderer__audiocraft__threads=1, renderer__audiocraft__device="cpu"))


@asynccontextmanager
async def serving(folder: Path, home: Path) -> AsyncIterator[tuple[Any, AudiocraftBackend]]:
    """Serve a model on a socket."""
    backend = make_backend(folder, home)
    async with served(backend, home) as stub:
        yield stub, backend
