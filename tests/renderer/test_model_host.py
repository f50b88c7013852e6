"""Several models in one renderer: loaded when needed, unloaded by least use, retried after failures."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.mesh.harness import Segued
from tests.renderer.queued_calls import next_of
from tests.renderer.renderer_server import listening
from tests.renderer.rig import requests, section, start_of

from segue.renderer.v1 import renderer_pb2, renderer_pb2_grpc
from segue_music.plan import Role
from segue_renderer.backend import RenderProgress
from segue_renderer.conformance import CHECKS, run_check
from segue_renderer.conformance.outcome import Outcome
from segue_renderer.conformance.target import Target
from segue_renderer.hosting import hosted_backend
from segue_renderer.hosting.hosted_backend import HostedBackend
from segue_renderer.hosting.load_records import LoadRecords
from segue_renderer.hosting.model_host import ModelHost
from segue_renderer.hosting.step_watch import StepWatch
from segue_renderer.registry import band_melody
from segue_renderer.service import RendererService
from segue_renderer.sketch.backend import SketchBackend
from segue_runtime import errors
from segue_runtime.rpc import channels

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from pathlib import Path

    from segue_renderer.backend import BackendStatus, RenderEvent

COLD, LOADING, WARM, FAILED = (
    renderer_pb2.MODEL_STATE_COLD,
    renderer_pb2.MODEL_STATE_LOADING,
    renderer_pb2.MODEL_STATE_WARM,
    renderer_pb2.MODEL_STATE_FAILED,
)
LIMIT_S = 120
GOOD = section("lofi, 12 seconds, 88 bpm", "motif", seed=3)
LONG = section("lofi, 1500 seconds, 88 bpm", "motif", seed=3, form=(Role.MOTIF,))


@dataclass
class Weights:
    """A model of the test: its size, whether it can be loaded, and what happened to it."""

    name: str
    memory_bytes: int = 0
    is_healthy: bool = True
    needs_restart: bool = False
    error: Exception | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    loads: int = 0
    closes: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    @property
    def is_loaded(self) -> bool:
        return self.loads > self.closes


class WeightyBand(SketchBackend):
    """The sketch band with a name of its own, and weights of a size that is measured when they are loaded."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self._weights = weights
        self._has_loaded = False
        digest = "ab" * 32 if weights.memory_bytes else ""
        licence = "CC0-1.0" if digest else ""
        (profile,) = self._profiles
        self._profiles = (replace(profile, model=weights.name, model_digest=digest, weights_license=licence),)

    async def load(self) -> None:
        await self._weights.gate.wait()
        if self._weights.error is not None:
            raise self._weights.error
        self._weights.loads += 1
        self._has_loaded = True
        (profile,) = self._profiles
        self._profiles = (replace(profile, memory_bytes=self._weights.memory_bytes),)

    def status(self) -> BackendStatus:
        return replace(
            super().status(),
            healthy=self._weights.is_healthy,
            needs_restart=self._weights.needs_restart,
            loading_step="weights",
        )

    async def close(self) -> None:
        self._weights.closes += self._has_loaded
        await super().close()


def make(weights: Weights) -> Callable[[], WeightyBand]:
    return lambda: WeightyBand(weights)


@contextlib.asynccontextmanager
async def hosting(folder: Path, *models: Weights, memory_bytes: int = 0) -> AsyncIterator[Any]:
    """Serve models; yields a stub."""
    records = LoadRecords(folder / "records.json")
    host = ModelHost([HostedBackend(make(each)) for each in models], memory_bytes=memory_bytes, records=records)
    try:
        await host.open()
        await host.load_first()
        async with (
            asyncio.timeout(LIMIT_S),
            listening(RendererService(host, band_melody), folder) as address,
            channels.connect(address) as channel,
        ):
            yield renderer_pb2_grpc.RendererServiceStub(channel)
    finally:
        await host.close()


async def status(stub: Any) -> renderer_pb2.GetStatusResponse:
    answer: renderer_pb2.GetStatusResponse = await stub.GetStatus(renderer_pb2.GetStatusRequest())
    return answer


async def states(stub: Any) -> list[int]:
    return [each.state for each in (await status(stub)).model_statuses]


async def become(stub: Any, *wanted: int) -> None:
    while await states(stub) != [*wanted]:  # noqa: ASYNC110 - the state can only be asked
        await asyncio.sleep(0.01)


async def play(stub: Any, model: str) -> renderer_pb2.RenderFinished:
    """Render a section; the accepted profile must be that of the model."""
    call = stub.RenderSection(requests(start_of(GOOD, model=model)))
    assert (await next_of(call, "accepted")).profile.model == model
    finished: renderer_pb2.RenderFinished = await next_of(call, "finished")
    return finished


async def test_the_first_is_loaded_at_the_start_and_the_others_when_a_section_needs_them(tmp_path: Path) -> None:
    one, two = Weights("one", 10), Weights("two", 10)
    two.gate.clear()
    async with hosting(tmp_path, one, two) as stub:
        listed = await stub.ListModels(renderer_pb2.ListModelsRequest())
        assert [each.model for each in listed.models] == ["one", "two"]
        assert await states(stub) == [WARM, COLD]
        assert (await status(stub)).model_statuses[1].memory_bytes == 0
        waiting = asyncio.create_task(play(stub, "two"))
        await become(stub, WARM, LOADING)
        assert (await status(stub)).queued == 1
        assert (await play(stub, "one")).frames == GOOD.frames, "a warm model plays while another is loaded"
        two.gate.set()
        assert (await waiting).frames == GOOD.frames
        found = await status(stub)
        assert [each.state for each in found.model_statuses] == [WARM, WARM]
        assert (found.slots, found.model_statuses[1].memory_bytes) == (2, 10)
    assert (one.loads, one.closes, two.loads, two.closes) == (1, 1, 1, 1)


async def test_the_model_of_least_use_is_unloaded_to_stay_within_the_memory(tmp_path: Path) -> None:
    one, two, three = Weights("one", 10), Weights("two", 10), Weights("three", 10)
    async with hosting(tmp_path, one, two, three, memory_bytes=25) as stub:
        for model in ("two", "three"):
            await play(stub, model)
            assert (await states(stub)).count(WARM) == 1, "a model whose size is not known yet is loaded alone"
        await play(stub, "one")
        assert await states(stub) == [WARM, COLD, WARM]
        assert (await status(stub)).slots == 2, "two models fit at once"
        await play(stub, "two")
        assert await states(stub) == [WARM, WARM, COLD], "three was used longest ago"
    assert [each.is_loaded for each in (one, two, three)] == [False, False, False]


async def test_a_model_is_not_unloaded_while_a_section_of_it_runs(tmp_path: Path) -> None:
    one, two = Weights("one", 10), Weights("two", 10)
    async with hosting(tmp_path, one, two, memory_bytes=10) as stub:
        running = stub.RenderSection(requests(start_of(LONG, model="one")))
        await next_of(running, "audio")  # it is not read to its end, so it does not end
        waiting = asyncio.create_task(play(stub, "two"))
        await become(stub, COLD, COLD)
        late = asyncio.create_task(play(stub, "one"))
        while (found := await status(stub)).queued < 2:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        assert (one.closes, found.model_statuses[0].busy_slots) == (0, 1)
        running.cancel()
        assert (await waiting).frames == GOOD.frames
        assert (await late).frames == GOOD.frames, "it is loaded again, after the one that waited"
    assert (one.loads, two.loads) == (2, 1)


async def test_a_model_that_is_larger_than_the_memory_fails_and_the_others_play(tmp_path: Path) -> None:
    one, two = Weights("one", 10), Weights("two", 99)
    async with hosting(tmp_path, one, two, memory_bytes=10) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await play(stub, "two")
        assert errors.from_rpc_error(caught.value).reason == "NO_RENDERER"
        found = (await status(stub)).model_statuses[1]
        assert (found.state, "99 bytes" in found.reason) == (FAILED, True)
        await play(stub, "one")
    assert (two.loads, two.closes) == (1, 1)


async def test_a_failed_load_is_shown_with_its_reason_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted_backend, "FIRST_BACKOFF_S", 0.05)
    one, two = Weights("one", error=errors.ModelInvalid("the file is cut short")), Weights("two")
    async with hosting(tmp_path, one, two) as stub:
        found = await status(stub)
        assert [each.state for each in found.model_statuses] == [FAILED, WARM]
        assert found.model_statuses[0].reason == "the file is cut short"
        assert found.state == renderer_pb2.RENDERER_STATE_READY
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await play(stub, "one")
        refused = errors.from_rpc_error(caught.value)
        assert (refused.reason, "cut short" in refused.message) == ("NO_RENDERER", True)
        one.error = None
        await become(stub, WARM, WARM)
        await play(stub, "one")


async def test_without_any_model_that_can_be_loaded_the_start_fails(tmp_path: Path) -> None:
    one, two = Weights("one", error=errors.ModelInvalid("damaged")), Weights("two", error=RuntimeError("private"))
    with pytest.raises(errors.ModelInvalid, match="damaged"):
        async with hosting(tmp_path, one, two):
            pass


async def test_a_model_that_cannot_render_any_more_is_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted_backend, "FIRST_BACKOFF_S", 0.05)
    one = Weights("one")
    async with hosting(tmp_path, one) as stub:
        one.is_healthy = False
        await become(stub, FAILED)
        found = await status(stub)
        assert (found.state, bool(found.reason)) == (renderer_pb2.RENDERER_STATE_FAILED, True)
        one.is_healthy = True
        await become(stub, WARM)
        await play(stub, "one")
    assert one.loads >= 1
    assert one.loads == one.closes


async def test_what_was_measured_is_known_at_the_next_start(tmp_path: Path) -> None:
    one, two = Weights("one"), Weights("two", 10)
    async with hosting(tmp_path, one, two) as stub:
        assert not (await status(stub)).model_statuses[1].HasField("load_time"), "it is not known"
        await play(stub, "two")
    for content in ("", "[1]", json.dumps({"two": {"load_s": "NaN"}}), None):
        if content is not None:
            (tmp_path / "other.json").write_text(content)
            assert LoadRecords(tmp_path / "other.json")._read() == {}  # noqa: SLF001 - the file's reader
    async with hosting(tmp_path, one, two) as stub:
        found = await status(stub)
        assert [each.state for each in found.model_statuses] == [WARM, COLD]
        assert found.model_statuses[1].HasField("load_time")
        assert found.models[1].memory_bytes == 10


async def test_a_renderer_with_several_models_keeps_every_promise_for_each(tmp_path: Path) -> None:
    async with hosting(tmp_path, Weights("one", 10), Weights("two", 10), memory_bytes=15) as stub:
        target = await Target.open(stub, "two")
        results = [await run_check(check, target) for check in CHECKS]
    assert {each.name: each.detail for each in results if each.outcome is Outcome.FAILED} == {}


async def test_a_model_that_is_loaded_says_what_it_does(tmp_path: Path) -> None:
    one, two = Weights("one"), Weights("two")
    async with hosting(tmp_path, one, two) as stub:
        two.gate.clear()
        playing = asyncio.create_task(play(stub, "two"))
        await become(stub, WARM, LOADING)
        assert [each.loading_step for each in (await status(stub)).model_statuses] == ["", "weights"]
        two.gate.set()
        await playing


async def test_a_device_for_a_new_process_only_is_not_loaded_again(tmp_path: Path) -> None:
    lost, other = Weights("lost"), Weights("other")
    async with hosting(tmp_path, lost, other) as stub:
        lost.is_healthy, lost.needs_restart = False, True
        for _ in range(2):
            assert (await status(stub)).state == renderer_pb2.RENDERER_STATE_FAILED, "the other model ends with it"
        assert (lost.loads, lost.closes) == (1, 0)


async def test_a_backend_hangs_when_all_its_sections_wait_for_too_long() -> None:
    clock, gate = [0.0], asyncio.Event()
    watch = StepWatch(10, lambda: clock[0])

    def stuck_at(now: float) -> bool:
        clock[0] = now
        return watch.is_stuck

    async def section() -> AsyncGenerator[RenderEvent, None]:
        for _ in range(2):
            await gate.wait()
            yield RenderProgress(0, 1)

    async with contextlib.aclosing(watch.watched(section())) as first:
        step = asyncio.create_task(anext(first))
        await asyncio.sleep(0)
        assert [stuck_at(now) for now in (9, 11)] == [False, True]
        gate.set()
        await step
        assert not stuck_at(50), "its caller has not taken the event"
        gate.clear()
        step = asyncio.create_task(anext(first))
        async with contextlib.aclosing(watch.watched(section())) as second:
            other = asyncio.create_task(anext(second))
            await asyncio.sleep(0)
            assert [stuck_at(now) for now in (59, 61)] == [False, True]
            gate.set()
            await asyncio.gather(step, other)
    assert not stuck_at(500), "no section is left"


async def test_a_process_whose_step_hangs_is_not_serving_and_ends_with_an_error(tmp_path: Path) -> None:
    """The step hangs in a thread that the interpreter would wait for."""
    (tmp_path / "hanging.py").write_text(
        "import asyncio, time\n"
        "from segue_renderer.sketch.backend import SketchBackend\n"
        "class Hanging(SketchBackend):\n"
        "    async def render(self, request):\n"
        "        await asyncio.to_thread(time.sleep, 600)\n"
        "        yield\n"
        "def make(settings):\n"
        "    return Hanging()\n"
    )
    renderer = Segued(
        tmp_path, "--renderer", "hanging:make", "--renderer-step-limit", "1s", "--server-drain", "1s", role="renderer"
    )
    try:
        renderer.start()
        async with channels.connect(renderer.address) as channel, asyncio.timeout(60):
            stub: Any = renderer_pb2_grpc.RendererServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError):
                async for _ in stub.RenderSection(requests(start_of(GOOD))):
                    pass
            assert await renderer.ended() == 1
    finally:
        renderer.stop()
    assert "sketch hangs" in (tmp_path / "renderer.log").read_text()


async def test_a_process_that_needs_a_restart_is_not_serving_and_ends_with_an_error(tmp_path: Path) -> None:
    (tmp_path / "lost_device.py").write_text(
        "from dataclasses import replace\n"
        "from segue_renderer.sketch.backend import SketchBackend\n"
        "class Lost(SketchBackend):\n"
        "    def status(self):\n"
        "        return replace(super().status(), healthy=False, needs_restart=True)\n"
        "def make(settings):\n"
        "    return Lost()\n"
    )
    renderer = Segued(tmp_path, "--renderer", "lost_device:make", role="renderer")
    try:
        renderer.start(wait=False)
        assert await renderer.ended() == 1
    finally:
        renderer.stop()
    assert "the device computes no more for this process" in (tmp_path / "renderer.log").read_text()
