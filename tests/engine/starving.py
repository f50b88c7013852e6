"""A mesh in this process with renderers of one model, one of which has no memory for a section."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

import torch
from tests.mesh.harness import embedded, hear, spec
from tests.renderer.renderer_server import listening

from segue.composer.v1 import composition_pb2, spec_pb2
from segue.music.v1 import music_pb2
from segue_renderer.hosting.model_host import ModelHost
from segue_renderer.registry import band_melody
from segue_renderer.service import RendererService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from segue_client import Client
    from segue_renderer.backend import Backend


class NoMemory:
    """Takes the memory of the renderer that is asked first, for good; the other ones keep theirs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.num_failures = 0
        self._monkeypatch = monkeypatch
        self._lock = threading.Lock()
        self._starved: object = None

    def may_strike(self, owner: object, name: str) -> None:
        """Let a method that computes fail if its object is the first whose method is called."""
        compute = getattr(owner, name)

        def call(*given: object, **more: object) -> object:
            with self._lock:
                self._starved = self._starved or owner
                if owner is self._starved:
                    self.num_failures += 1
                    raise torch.OutOfMemoryError("allocated by a test")
            return compute(*given, **more)

        self._monkeypatch.setattr(owner, name, call)


@contextlib.asynccontextmanager
async def pool_of(folder: Path, *backends: Backend) -> AsyncIterator[Client]:
    """Load the backends and serve a mesh with a renderer for each."""
    async with contextlib.AsyncExitStack() as stack:
        addresses = []
        for backend in backends:
            stack.push_async_callback(backend.close)
            await backend.load()
            service = RendererService(ModelHost.of(backend), band_melody)
            addresses.append(await stack.enter_async_context(listening(service, folder)))
        home = folder / "home"
        _, client = await stack.enter_async_context(embedded(home, {"renderer.addresses": ",".join(addresses)}))
        yield client


async def check_sections_move(client: Client, model: str, no_memory: NoMemory) -> None:
    """Compose four sections on two renderers: all of them are played by the one that has memory."""
    while [each.slots for each in await client.model_statuses() if each.model == model] != [2]:  # noqa: ASYNC110 - it can only be asked
        await asyncio.sleep(0.1)
    asked = spec("calm piano, 120 bpm, C major, verse chorus verse chorus", seconds=8, model=model)
    plan = (await client.plan(asked)).plan
    plan.digest = ""
    for item in plan.sections:
        item.ClearField("join")
        item.spec.continuity = music_pb2.CONTINUITY_NONE
    heard = await hear(client.compose(spec_pb2.CompositionSpec(plan=plan, model=model)))
    made = heard.composition
    assert made.state == composition_pb2.STATE_SUCCEEDED, made.error
    assert not made.degradations
    assert {each.model for each in made.sections} == {model}
    assert no_memory.num_failures > 0
    assert max(each.attempt for each in made.sections) > 1
