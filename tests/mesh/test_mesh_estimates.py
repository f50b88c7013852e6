"""Estimates at the gateway's edge, from a store whose renderers, speeds and costs the test writes; nobody conducts."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration
from tests.mesh.harness import free_port, spec, stub
from tests.mesh.shapes import opened_store, shape

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import analysis_pb2, composition_pb2, spec_pb2, stream_pb2
from segue.music.v1 import music_pb2
from segue.renderer.v1 import renderer_pb2
from segue_client import Access, Client, SegueError
from segue_composition import log_rows, state
from segue_composition.estimates.file_times import file_stage
from segue_composition.estimates.piece_work import MASTER, MIX
from segue_composition.job_kinds import ANALYSIS, MASTERING
from segue_runtime.settings import load
from segue_runtime.store import NewEvent
from segue_runtime.store.pool.records import LeaseEnd, ModelKey, OfferedModel, RendererOffer, WaitingSection
from segued.serve.node import Node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from segue.composer.v1.composition_pb2 import Composition
    from segue.music.v1.music_pb2 import Plan
    from segue_runtime.store import Job, Store

BAND = ModelKey("band", "d", "1")
LEASE_S = 600.0
OFFER_S = 60.0
FLAC = spec_pb2.Export(file_format=audio_pb2.FILE_FORMAT_FLAC)
FIVE = spec("calm piano, 120 bpm, C major, verse chorus verse chorus verse", seconds=40)


def seconds(duration: Duration) -> float:
    return duration.ToNanoseconds() / 1e9


class Mesh:
    """A gateway, a planner, and the store between them and a conductor that is not there."""

    def __init__(self, address: str, client: Client, store: Store) -> None:
        self.address = address
        self.client = client
        self.store = store
        self._offers: dict[str, RendererOffer] = {}

    async def keep_offers(self) -> None:
        """Renew what the renderers offer until cancelled: on a slow machine, one offer ends before the test does."""
        while True:
            for offered in self._offers.values():
                await self.store.pool.offer(offered, OFFER_S)
            await asyncio.sleep(OFFER_S / 12)

    async def offer(self, renderer: str = "r1", *, slots: int = 1, speed: float = 0.0, **abilities: Any) -> None:
        profile = renderer_pb2.ModelProfile(
            model=BAND.model, model_digest=BAND.model_digest, engine_version=BAND.engine_version,
            continuities=[music_pb2.CONTINUITY_NONE], backend="band", sample_rate=48_000, channels=2,
            real_time_factor=speed, **abilities,
        )  # fmt: skip
        model = OfferedModel(BAND, slots, profile.SerializeToString(), speed=speed)
        self._offers[renderer] = RendererOffer(renderer, f"{renderer}:1", slots, (model,))
        await self.store.pool.offer(self._offers[renderer], OFFER_S)

    async def ready_s(self, what: spec_pb2.CompositionSpec) -> float:
        """Return when a piece would be complete, if it were created now."""
        answer = await self.client.plan(what)
        assert answer.estimate.HasField("ready_in")
        return seconds(answer.estimate.ready_in)

    async def claim(self, name: str) -> Job:
        claimed = await self.store.claim_one(name, "conductor", LEASE_S)
        assert claimed is not None
        return claimed

    async def change(self, job: Job, change: Callable[[Composition], object], *, terminal: bool = False) -> None:
        """Write a composition as a conductor would."""
        composition = composition_pb2.Composition.FromString((await self.job(job.name)).resource)
        change(composition)
        event = stream_pb2.CompositionEvent(warned=music_pb2.Warning(code="test"))
        await self.store.append(
            job.name, job.epoch, [NewEvent(log_rows.EVENT, event.SerializeToString())],
            after=(await self.job(job.name)).last_row,
            resource=composition.SerializeToString(), state=composition_pb2.State.Name(composition.state),
            terminal=terminal,
        )  # fmt: skip

    async def job(self, name: str) -> Job:
        found = await self.store.get(name)
        assert found is not None
        return found

    async def finished_parent(self, plan: Plan) -> str:
        """Finish a composition, with takes."""
        job = await self.claim((await self.client.create(FIVE)).name)

        def finish(piece: Composition) -> None:
            state.apply(piece, stream_pb2.CompositionEvent(planned=stream_pb2.Planned(plan=plan)))
            for section in piece.sections:
                section.state, section.take = composition_pb2.SECTION_STATE_JOINED, "0" * 64
            piece.state = composition_pb2.STATE_SUCCEEDED

        await self.change(job, finish, terminal=True)
        return job.name


@asynccontextmanager
async def mesh(home: Path, **flags: object) -> AsyncIterator[Mesh]:
    planner, gateway = (f"127.0.0.1:{free_port()}" for _ in range(2))
    common = {"home": str(home), **shape().settings(home), "server.drain": "1s", "planner.address": planner}
    inner = load(common | {"server.role": "planner"}, environ={}, folder=home)
    outer = load(common | {"server.role": "gateway"} | flags, environ={}, folder=home)
    async with (
        Node(inner, listen=(planner,)),
        Node(outer, listen=(gateway,)),
        Client(Access(gateway)) as client,
        opened_store(home) as store,
    ):
        here = Mesh(gateway, client, store)
        offering = asyncio.create_task(here.keep_offers())
        try:
            yield here
        finally:
            offering.cancel()
            await asyncio.gather(offering, return_exceptions=True)


async def test_the_estimate_follows_the_queue_the_pool_and_what_is_left(tmp_path: Path) -> None:
    async with mesh(tmp_path) as here:
        await here.offer(speed=0.0)
        unknown = (await here.client.plan(FIVE)).estimate
        assert not unknown.HasField("ready_in")
        assert not unknown.HasField("render_time")

        await here.offer(speed=0.5)
        alone_s = await here.ready_s(FIVE)
        assert alone_s > 80
        await here.offer(slots=2, speed=0.5)
        assert 40 < await here.ready_s(FIVE) < 0.55 * alone_s + 10
        await here.offer(slots=1, speed=0.5)

        # Only one section of five is rendered again, but all is mixed and mastered.
        plan = (await here.client.plan(FIVE)).plan
        assert len(plan.sections) == 5
        parent = await here.finished_parent(plan)
        edit = spec_pb2.Edit(redo=spec_pb2.EditRedo(section_id=plan.sections[1].spec.section_id))
        redo_s = await here.ready_s(spec_pb2.CompositionSpec(parent=parent, edits=[edit]))
        part = plan.sections[1].spec.frames / plan.frames
        assert alone_s - redo_s == pytest.approx((1 - part) * 80, abs=1)

        # Others share the slot with it.
        others = [await here.client.create(FIVE) for _ in range(2)]
        behind_s = await here.ready_s(FIVE)
        assert behind_s > 2.5 * alone_s
        assert seconds((await here.client.get(others[0].name)).ready_in) > 0


async def test_a_short_section_takes_as_long_as_the_models_shortest_window(tmp_path: Path) -> None:
    async with mesh(tmp_path) as here:
        await here.offer(speed=0.5)
        plain_s = await here.ready_s(FIVE)
        await here.offer(speed=0.5, min_window=Duration(seconds=16))
        answer = await here.client.plan(FIVE)
        lengths = [item.spec.frames / 48_000 for item in answer.plan.sections]
        assert max(lengths) < 16
        more_s = (16 * len(lengths) - sum(lengths)) / 0.5
        assert seconds(answer.estimate.ready_in) - plain_s == pytest.approx(more_s, abs=1)
        assert seconds(answer.estimate.render_time) == pytest.approx(16 * len(lengths) / 0.5)

        # The mixer gets the last section when all of it is rendered.
        await here.store.pool.add_cost(MIX, 1.0)
        await here.offer(speed=0.5)
        streamed_s = await here.ready_s(FIVE)
        await here.offer(speed=0.5, audio_at_end=True)
        assert await here.ready_s(FIVE) - streamed_s == pytest.approx(lengths[-1], abs=1)


async def test_measured_speeds_and_costs_replace_the_declared_ones(tmp_path: Path) -> None:
    async with mesh(tmp_path) as here:
        await here.offer(speed=0.5)
        before_s = await here.ready_s(FIVE)
        job = await here.claim((await here.client.create(FIVE)).name)
        for _ in range(3):
            section = WaitingSection(job.name, job.epoch, "verse", BAND, 0.0, 8.0)
            await here.store.pool.leave_line(await here.store.pool.enter_line(section), LeaseEnd.DONE, speed=4.0)
        await here.change(job, lambda piece: setattr(piece, "state", composition_pb2.STATE_FAILED), terminal=True)
        answer = (await here.client.plan(FIVE)).estimate
        assert seconds(answer.render_time) == pytest.approx(10, rel=0.1)
        assert seconds(answer.ready_in) < before_s / 4
        for _ in range(3):
            await here.store.pool.add_cost(MASTER, 2.0)
        assert await here.ready_s(FIVE) > seconds(answer.ready_in) + 70


async def test_the_estimate_counts_down_while_a_piece_is_made(tmp_path: Path) -> None:
    async with mesh(tmp_path) as here:
        await here.offer(speed=0.5)
        plan = (await here.client.plan(FIVE)).plan
        name = (await here.client.create(FIVE)).name
        request = stream_pb2.WatchCompositionRequest(name=name)
        request.heartbeat_interval.FromSeconds(1)
        async with stub(here.address) as gateway, asyncio.timeout(60):
            async for answer in gateway.WatchComposition(request):
                if answer.event.HasField("checkpoint"):
                    assert seconds(answer.event.checkpoint.ready_in) > 80
                    break
        job = await here.claim(name)

        def joined(piece: Composition, count: int) -> None:
            if not piece.HasField("plan"):
                state.apply(piece, stream_pb2.CompositionEvent(planned=stream_pb2.Planned(plan=plan)))
            for section in piece.sections[:count]:
                section.state = composition_pb2.SECTION_STATE_JOINED
            piece.draft_frames = sum(item.spec.frames for item in plan.sections[:count])
            if count == len(plan.sections):
                piece.state = composition_pb2.STATE_MASTERING

        left_s = 1000.0
        for count in range(len(plan.sections) + 1):
            await here.change(job, partial(joined, count=count))
            async with asyncio.timeout(60):
                while (found := seconds((await here.client.get(name)).ready_in)) >= left_s:  # noqa: ASYNC110 - nothing else tells
                    await asyncio.sleep(0.1)
            left_s = found
        assert 0 < left_s < 10


async def test_a_full_queue_gives_the_time_until_a_piece_leaves_it(tmp_path: Path) -> None:
    async with mesh(tmp_path, **{"queue.limit": 1, "conductor.count": 1}) as here:
        await here.offer(speed=1.25)
        running = await here.claim((await here.client.create(FIVE)).name)
        await here.client.create(FIVE)
        with pytest.raises(SegueError) as caught:
            await here.client.create(FIVE)
        assert caught.value.reason == "QUEUE_FULL"
        left_s = seconds((await here.client.get(running.name)).ready_in)
        assert caught.value.retry_after_s == pytest.approx(left_s, rel=0.1)


async def test_the_estimate_of_a_file_follows_its_size_its_format_and_the_files_before_it(tmp_path: Path) -> None:
    """Nobody works on them: two at once are expected."""
    async with mesh(tmp_path) as here, stub(here.address) as calls:
        sources = {}
        for name, size in (("a.flac", 200_000), ("b.wav", 400_000)):
            (tmp_path / name).write_bytes(bytes(size))
            sources[name] = (await here.client.upload(tmp_path / name)).name

        async def analyze(name: str) -> str:
            request = analysis_pb2.CreateAnalysisRequest(source=sources[name])
            return (await calls.CreateAnalysis(request)).analysis.name

        async def left_s(name: str) -> float | None:
            found = (await calls.GetAnalysis(analysis_pb2.GetAnalysisRequest(name=name))).analysis
            return seconds(found.ready_in) if found.HasField("ready_in") else None

        first, other = await analyze("a.flac"), await analyze("b.wav")
        assert await left_s(first) is None  # no file was measured before
        for kind, cost in ((ANALYSIS, 50.0), (MASTERING, 100.0)):
            await here.store.pool.add_cost(file_stage(kind, "audio/flac"), cost)
        third, fourth = await analyze("a.flac"), await analyze("a.flac")
        assert await left_s(fourth) == pytest.approx(30)  # behind the first one and the third one
        assert [await left_s(each) for each in (first, third)] == pytest.approx([10, 20])
        assert await left_s(other) is None  # of another format

        # Half of it is done.
        job = await here.claim(first)
        running = analysis_pb2.Analysis.FromString(job.resource)
        running.fraction_done, running.state = 0.5, composition_pb2.STATE_RENDERING
        await here.store.append(
            first,
            job.epoch,
            [NewEvent(log_rows.EVENT, b"")],
            after=job.last_row,
            resource=running.SerializeToString(),
            state="RENDERING",
        )
        async for answer in calls.WatchAnalysis(analysis_pb2.WatchAnalysisRequest(name=await analyze("a.flac"))):
            assert seconds(answer.analysis.ready_in) == pytest.approx(35)
            break
        assert await left_s(first) == pytest.approx(5)

        # Masterings have workers of their own, and are watched as pieces are.
        created = await here.client.create_master(sources["a.flac"], exports=[FLAC])
        assert seconds(created.ready_in) == pytest.approx(20)
        request = stream_pb2.WatchCompositionRequest(name=created.name)
        request.heartbeat_interval.FromSeconds(1)
        async with asyncio.timeout(60):
            async for event in calls.WatchComposition(request):
                if event.event.HasField("checkpoint"):
                    assert seconds(event.event.checkpoint.ready_in) == pytest.approx(20)
                    break
