"""Several takes of one section in one call: each as in a call of its own, bounded, and ended together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from prometheus_client import CollectorRegistry
from tests.renderer.renderer_server import listening, served
from tests.renderer.rig import requests, section, start_of
from tests.renderer.scripted_backend import ScriptedBackend
from tests.renderer.test_renderer_inputs import SPEC, refusal, scripted

from segue.renderer.v1 import renderer_pb2, renderer_pb2_grpc
from segue_music.plan import GuideKind, Role
from segue_renderer.conformance.rendering import Rendering, collect_takes
from segue_renderer.hosting.metrics import RendererMetrics
from segue_renderer.hosting.model_host import ModelHost
from segue_renderer.service import RendererService
from segue_renderer.sketch.backend import SketchBackend
from segue_runtime import errors
from segue_runtime.rpc import channels

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from segue_renderer.backend import RenderEvent, RenderRequest

GOOD = section("lofi, 12 seconds, 88 bpm", "motif", seed=3)
LONG = section("lofi, 1500 seconds, 88 bpm", "motif", seed=3, form=(Role.MOTIF,))
pytestmark = pytest.mark.timeout(90)


async def takes(stub: Any, *seeds: int, spec: Any = GOOD, **given: Any) -> list[Rendering]:
    first, *more = seeds
    start = start_of(spec, first, more_seeds=more, **given)
    found = await collect_takes(stub.RenderSection(requests(start)), start)
    assert sorted(found) == list(range(len(seeds)))
    return [found[index] for index in range(len(seeds))]


@pytest.mark.parametrize("slots", [1, 2])
async def test_a_take_has_the_bytes_of_a_call_of_its_own(slots: int, tmp_path: Path) -> None:
    async with served(SketchBackend(slots), tmp_path) as stub:
        together = await takes(stub, 7, 8, 9, stems=True, notes=True)
        for seed, take in zip((7, 8, 9), together, strict=True):
            (alone,) = await takes(stub, seed, stems=True, notes=True)
            assert take.layers == alone.layers
            assert all(take.content(layer) == alone.content(layer) for layer in alone.layers)
            assert [str(note) for note in take.notes] == [str(note) for note in alone.notes]
            assert take.finished == alone.finished
            assert (take.kinds[0], take.kinds[-1]) == ("accepted", "finished")
        assert len({take.content() for take in together}) == 3


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [(range(9), errors.InvalidField), ((7, 8, 8), errors.InvalidField), ((7, 7), errors.InvalidField)],
)
async def test_too_many_takes_and_equal_seeds_are_refused(
    tmp_path: Path, seeds: tuple[int, ...], expected: type[errors.SegueError]
) -> None:
    async with scripted(tmp_path) as (stub, backend):
        assert isinstance(await refusal(stub, start_of(SPEC, seeds[0], more_seeds=seeds[1:])), expected)
    assert not backend.requests


async def test_a_model_may_allow_fewer_takes(tmp_path: Path) -> None:
    async with scripted(tmp_path, max_takes=2) as (stub, backend):
        error = await refusal(stub, start_of(SPEC, 1, more_seeds=[2, 3]))
        assert isinstance(error, errors.OptionNotSupported)
        assert error.metadata["option"] == "more_seeds"
        assert len(await takes(stub, 1, 2, spec=SPEC)) == 2
    assert sorted(request.seed for request in backend.requests) == [1, 2]


async def test_each_take_follows_the_melody_of_its_own_seed(tmp_path: Path) -> None:
    async with scripted(tmp_path, guides=(GuideKind.NOTES,)) as (stub, backend):
        await takes(stub, 3, 4, guide_band=True)
        await takes(stub, 4, guide_band=True)
    melodies = {request.seed: request.guide_notes for request in backend.requests[:2]}
    assert melodies[4] == backend.requests[2].guide_notes
    assert melodies[3] != melodies[4]


async def test_a_cancelled_call_ends_all_its_takes(tmp_path: Path) -> None:
    backend = SketchBackend(2)
    async with served(backend, tmp_path) as stub:
        call = stub.RenderSection(requests(start_of(LONG, 1, more_seeds=[2, 3])))
        heard: set[int] = set()
        async for message in call:
            if message.HasField("audio"):
                heard.add(message.seed_index)
            if len(heard) == 2:
                break
        call.cancel()
        # There are two slots: this ends only after all takes, 25 minutes of music each, have freed them.
        assert len(await takes(stub, 7, 8)) == 2
        assert (backend.status().busy_slots, backend.status().queued) == (0, 0)


class OneFails(ScriptedBackend):
    """A backend that fails for one seed."""

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderEvent, None]:
        async for event in super().render(request):
            yield event
            if request.seed == 2:
                raise errors.OutOfMemory("for this test")


async def test_the_error_of_one_take_ends_the_call(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    backend = OneFails()
    service = RendererService(ModelHost.of(backend), lambda _spec, _seed: (), RendererMetrics(registry))
    address = f"unix:{tmp_path}/one.sock"
    async with listening(service, tmp_path, address) as bound, channels.connect(bound) as channel:
        stub = renderer_pb2_grpc.RendererServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await takes(stub, 1, 2, 3, spec=SPEC)
    assert isinstance(errors.from_rpc_error(caught.value), errors.OutOfMemory)
    ended = {
        outcome: registry.get_sample_value("segue_renderer_sections_total", {"model": "scripted", "outcome": outcome})
        for outcome in ("failed", "cancelled", "finished")
    }
    assert ended["failed"] == 1
    assert sum(value or 0 for value in ended.values()) == 3, "every take is counted"


async def test_the_profile_says_how_many_takes_a_call_may_have(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (stub, _), served(SketchBackend(), tmp_path) as band:
        for each in (stub, band):
            (model,) = (await each.ListModels(renderer_pb2.ListModelsRequest())).models
            assert model.max_takes == 8
