"""The engine's metrics: what it did, as Prometheus reads it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest
from prometheus_client import CollectorRegistry
from tests.engine.on_device import settings_of
from tests.engine.serving import SPEC, play, start_of
from tests.renderer.renderer_server import listening

from segue.renderer.v1 import renderer_pb2_grpc
from segue_renderer.hosting.metrics import RendererMetrics
from segue_renderer.hosting.model_host import ModelHost
from segue_renderer.musicgen.backend import MusicgenBackend
from segue_renderer.musicgen.section_render import SectionRender
from segue_renderer.registry import band_melody
from segue_renderer.service import RendererService
from segue_runtime import failpoints
from segue_runtime.rpc import channels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Any

    from tests.engine.conftest import Checkpoint


class Measured:
    """A renderer with metrics."""

    def __init__(
        self, stub: Any, backend: MusicgenBackend, registry: CollectorRegistry, metrics: RendererMetrics
    ) -> None:
        self.stub = stub
        self.backend = backend
        self._host = ModelHost.of(backend)
        self._registry = registry
        self._metrics = metrics

    async def value(self, name: str) -> float:
        watching = asyncio.create_task(self._metrics.watch(self._host))
        await asyncio.sleep(0)  # it reads the status at once
        watching.cancel()
        model = self._host.profiles[0].model
        found = self._registry.get_sample_value(f"segue_renderer_{name}", {"model": model})
        assert found is not None, name
        return found


@pytest.fixture
async def renderer(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> AsyncIterator[Measured]:
    backend = MusicgenBackend(settings_of(checkpoints["mono"].folder, slots=2))
    await backend.load()
    registry = CollectorRegistry()
    metrics = RendererMetrics(registry)
    try:
        async with (
            listening(RendererService(ModelHost.of(backend), band_melody, metrics), tmp_path) as address,
            channels.connect(address) as channel,
        ):
            yield Measured(renderer_pb2_grpc.RendererServiceStub(channel), backend, registry, metrics)
    finally:
        failpoints.arm("")
        await backend.close()


async def test_frames_that_are_not_yet_audio_are_counted(renderer: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    backlogs: list[int] = []
    sound = SectionRender.sound

    def watched(section: SectionRender, codes: Any) -> Any:
        counts = renderer.backend.status().counts
        assert counts is not None
        backlogs.append(counts.codec_backlog_frames)
        return sound(section, codes)

    monkeypatch.setattr(SectionRender, "sound", watched)
    await play(renderer.stub, start_of())
    assert min(backlogs) >= 10, "at least the piece that is decoded now"
    assert await renderer.value("codec_backlog_frames") == 0


async def test_steps_rows_and_joins_are_counted(renderer: Measured) -> None:
    assert await renderer.value("steps_total") == 0
    await asyncio.gather(play(renderer.stub, start_of()), play(renderer.stub, start_of(SPEC, 8)))
    steps, rows = await renderer.value("steps_total"), await renderer.value("rows_total")
    assert await renderer.value("joins_total") == 2
    # 50 frames in 53 columns each, together for the most part.
    assert rows == 2 * 53
    assert rows / 2 <= steps < rows
    assert await renderer.value("step_seconds_total") > 0
    assert await renderer.value("codec_backlog_frames") == 0
    assert await renderer.value("first_audio_seconds_count") == 2
    assert await renderer.value("busy_slots") == 0


@pytest.mark.parametrize(
    ("failpoint", "counter"),
    [
        ("musicgen.step=error", "device_losses_total"),
        ("musicgen.step_memory=error", "out_of_memory_total"),
        ("musicgen.join_memory=error", "out_of_memory_total"),
    ],
)
async def test_faults_are_counted(failpoint: str, counter: str, renderer: Measured) -> None:
    failpoints.arm(failpoint)
    with pytest.raises(grpc.aio.AioRpcError):
        await play(renderer.stub, start_of())
    assert await renderer.value(counter) == 1
