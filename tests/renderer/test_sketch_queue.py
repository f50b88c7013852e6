"""The queue of the sketch band: positions, fairness between owners, and its limit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.renderer.queued_calls import first_answers, next_of
from tests.renderer.rig import play, renderer, requests, section, start_of

from segue.renderer.v1 import renderer_pb2
from segue_music.plan import Role
from segue_renderer.service import MAX_QUEUED

if TYPE_CHECKING:
    from pathlib import Path

GOOD = section("lofi, 12 seconds, 88 bpm", "motif", seed=3)
LONG = section("lofi, 1500 seconds, 88 bpm", "motif", seed=3, form=(Role.MOTIF,))


async def test_waiting_callers_receive_their_queue_position_and_the_loudness(tmp_path: Path) -> None:
    async with renderer(tmp_path) as (stub, _):
        alone = await play(stub, start_of(GOOD))
        first = stub.RenderSection(requests(start_of(LONG)))
        await next_of(first, "audio")
        second, third = (stub.RenderSection(requests(start_of(GOOD))) for _ in range(2))
        accepted = [await next_of(call, "accepted") for call in (second, third)]
        assert sorted(each.queue_position for each in accepted) == [1, 2]
        assert alone.accepted is not None
        assert alone.accepted.queue_position == 0
        for each in accepted:
            each.queue_position = 0
            assert each == alone.accepted
        last, other = (third, second) if await place_of(third) == 2 else (second, third)
        progress = await next_of(last, "progress")
        assert (progress.frames_done, progress.frames_total, progress.queue_position) == (0, GOOD.frames, 2)
        other.cancel()
        while (await next_of(last, "progress")).queue_position != 1:
            pass
        first.cancel()
        assert (await next_of(last, "audio")).first_frame == 0
        last.cancel()


async def place_of(call: Any) -> int:
    place: int = (await next_of(call, "progress")).queue_position
    return place


async def test_the_next_slot_goes_to_an_owner_that_had_none(tmp_path: Path) -> None:
    async with renderer(tmp_path) as (stub, backend):
        first = stub.RenderSection(requests(start_of(LONG, owner="greedy")))
        await next_of(first, "audio")
        greedy = [stub.RenderSection(requests(start_of(LONG, owner="greedy"))) for _ in range(2)]
        for call in greedy:
            await next_of(call, "accepted")
        late = stub.RenderSection(requests(start_of(GOOD, owner="modest")))
        assert (await next_of(late, "accepted")).queue_position == 3
        first.cancel()
        # The long calls are not read, so the test ends only when the short one goes first.
        assert (await next_of(late, "finished")).frames == GOOD.frames
        assert backend.status().queued >= 1
        for call in greedy:
            call.cancel()


async def test_calls_at_the_same_moment_do_not_exceed_the_queue_limit(tmp_path: Path) -> None:
    async with renderer(tmp_path) as (stub, backend):
        first = stub.RenderSection(requests(start_of(LONG)))
        await next_of(first, "audio")
        calls = [stub.RenderSection() for _ in range(MAX_QUEUED + 6)]
        # All calls begin before the first request is complete.
        await asyncio.gather(*(call.write(renderer_pb2.RenderSectionRequest(start=start_of(GOOD))) for call in calls))
        for _ in calls:
            assert (await stub.GetStatus(renderer_pb2.GetStatusRequest())).queued == 0
        await asyncio.gather(*(call.done_writing() for call in calls))
        answers = await first_answers(calls)
        assert answers == {"accepted": MAX_QUEUED, "QUEUE_FULL": 6}
        assert backend.status().queued == MAX_QUEUED
        for call in (first, *calls):
            call.cancel()
