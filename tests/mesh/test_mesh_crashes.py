"""Processes are killed at any moment: nothing is lost, nothing is repeated, the files are the same to the byte."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

import pytest
from tests.mesh.harness import Heard, Segued, embedded, free_port, hear, processes, sha256, spec
from tests.renderer.tiny_font import written_pack

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOTH = stream_pb2.AUDIO_SELECTION_BOTH
ASKED = spec("calm piano, 120 bpm, C major, verse chorus", seconds=12)
# In the order of the work: each names a failpoint and the passage that kills.
MOMENTS = (
    "conductor.after_plan=kill",
    "conductor.before_segment_row=kill*3",
    "store.before_commit=kill*24",
    "conductor.after_join=kill",
    "conductor.after_measure=kill",
)
MORE_MOMENTS = ("conductor.after_take=kill*2", "conductor.before_finish=kill", "store.after_commit=kill*9")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Heard:
    """The same piece, made without an interruption."""

    async def make() -> Heard:
        async with embedded(tmp_path_factory.mktemp("undisturbed")) as (_, client):
            return await hear(client.compose(ASKED, audio=BOTH))

    return asyncio.run(make())


def check(heard: Heard, undisturbed: Heard) -> None:
    """Check one stream over all interruptions: ordered, without gap or repetition (the client checks each frame)."""
    assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
    assert heard.num_rewinds == 0
    logged = [each.event.sequence for each in heard.updates if each.kind not in {"section_progress", "checkpoint"}]
    assert logged == sorted(logged)
    assert heard.kinds.count("finished") == heard.kinds.count("accepted") == 1
    assert sha256(heard.draft) == sha256(undisturbed.draft)
    assert sha256(heard.master) == sha256(undisturbed.master)
    assert heard.digests() == undisturbed.digests()
    # The next claim knows the finished work.
    assert {section.state for section in heard.composition.sections} == {composition_pb2.SECTION_STATE_JOINED}
    assert heard.kinds.count("section_finished") == len(heard.composition.sections)


@pytest.fixture
def segued(tmp_path: Path) -> Iterator[Segued]:
    one = Segued(tmp_path / "home")
    try:
        yield one
    finally:
        one.stop()


@pytest.mark.parametrize(
    "moment", [*MOMENTS, *(pytest.param(moment, marks=pytest.mark.slow) for moment in MORE_MOMENTS)]
)
async def test_the_whole_mesh_is_killed_and_started_again(segued: Segued, moment: str, undisturbed: Heard) -> None:
    segued.start(failpoints=moment)
    async with Client(segued.address, patience_s=60) as client:
        listening = asyncio.create_task(hear(client.compose(ASKED, audio=BOTH)))
        assert await segued.ended() == -9
        await asyncio.to_thread(segued.start)
        heard = await asyncio.wait_for(listening, 60)
        check(heard, undisturbed)
        # A later watcher receives the same from the log.
        late = await hear(client.watch(heard.composition.name, audio=BOTH))
        check(late, undisturbed)


async def test_a_piece_with_sampled_voices_has_the_same_bytes_after_a_kill(tmp_path: Path, undisturbed: Heard) -> None:
    pack = str(written_pack(tmp_path))
    async with embedded(tmp_path / "alone", {"renderer.sketch.voices": pack}) as (_, client):
        alone = await hear(client.compose(ASKED, audio=BOTH))
    one = Segued(tmp_path / "home", "--voices", pack)
    try:
        one.start(failpoints="conductor.after_join=kill")
        async with Client(one.address, patience_s=60) as client:
            listening = asyncio.create_task(hear(client.compose(ASKED, audio=BOTH)))
            assert await one.ended() == -9
            await asyncio.to_thread(one.start)
            check(await asyncio.wait_for(listening, 60), alone)
    finally:
        one.stop()
    assert sha256(alone.master) != sha256(undisturbed.master)


async def test_a_composition_continues_without_a_watcher(segued: Segued, undisturbed: Heard) -> None:
    segued.start(failpoints="conductor.after_segment=kill*4")
    async with Client(segued.address, patience_s=60) as client:
        created = await client.create(ASKED)
        assert await segued.ended() == -9
        await asyncio.to_thread(segued.start)
        heard = await asyncio.wait_for(hear(client.watch(created.name, audio=BOTH)), 60)
    check(heard, undisturbed)
    assert heard.kinds.count("started") >= 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.timeout(300)
async def test_kills_at_random_moments_and_a_cancel_in_between(segued: Segued, seed: int, undisturbed: Heard) -> None:
    """The log stays ordered and complete; a cancelled piece has one end, too."""
    chance = random.Random(seed)
    cancels = seed % 3 == 2
    segued.start(failpoints="conductor.before_segment_row=sleep(60ms)")
    async with Client(segued.address, patience_s=120) as client:
        name = (await client.create(ASKED)).name
        listening = asyncio.create_task(hear(client.watch(name, audio=BOTH)))
        for _ in range(2):  # a third loss without progress would end the piece
            await asyncio.sleep(chance.uniform(0.05, 1.5))
            segued.kill()
            await asyncio.to_thread(segued.start, "conductor.before_segment_row=sleep(60ms)")
        if cancels:
            await client.cancel(name)
        heard = await asyncio.wait_for(listening, 200)
        late = await hear(client.watch(name, audio=BOTH))
        logged = [each.event.sequence for each in late.updates if each.kind != "audio"]
        assert logged == sorted(set(logged))
        assert late.kinds.count("finished") == late.kinds.count("accepted") == 1
        assert late.kinds[-1] == "finished"
        assert (heard.draft, heard.master) == (late.draft, late.master)
        if heard.composition.state == composition_pb2.STATE_CANCELLED:
            assert cancels
            assert undisturbed.draft.startswith(heard.draft)
        else:
            check(heard, undisturbed)
            check(late, undisturbed)


@pytest.mark.parametrize(
    "victim", ["conductor", "renderer", "mixer", "gateway", pytest.param("analyzer", marks=pytest.mark.slow)]
)
async def test_one_role_of_the_mesh_is_killed_and_started_again(
    tmp_path: Path, victim: str, undisturbed: Heard
) -> None:
    with contextlib.ExitStack() as stack:
        mesh = await asyncio.to_thread(stack.enter_context, processes(tmp_path / "home"))
        async with Client(mesh["gateway"].address, patience_s=60) as client:
            heard = Heard()
            # The analyzer is called at the end, the other roles from the first audio on.
            awaited = "draft_finished" if victim == "analyzer" else "audio"
            async for update in client.compose(ASKED, audio=BOTH):
                heard.take(update)
                if update.kind == awaited and heard.kinds.count(awaited) == 1:
                    mesh[victim].kill()
                    await asyncio.to_thread(mesh[victim].start)
        check(heard, undisturbed)


async def test_a_stopped_process_releases_the_work_and_another_one_ends_it(segued: Segued, undisturbed: Heard) -> None:
    segued.start()
    async with Client(segued.address, patience_s=60) as client:
        heard = Heard()
        async for update in client.compose(ASKED, audio=BOTH):
            heard.take(update)
            if update.kind == "audio" and heard.kinds.count("audio") == 1:
                assert await asyncio.to_thread(segued.terminate) == 0
                await asyncio.to_thread(segued.start)
    check(heard, undisturbed)


async def test_a_finished_section_is_progress_although_it_is_not_joined(tmp_path: Path, undisturbed: Heard) -> None:
    """A piece that was lost before works alone. Its conductor dies after a section is finished, and the mixer is away:
    without that progress, the second loss would be the end of the piece."""
    away = ("--mixer-address", f"127.0.0.1:{free_port()}")
    segued = Segued(tmp_path / "home", "--conductor-max-claims", "1", *away)
    try:
        segued.start(failpoints="conductor.after_plan=kill")
        async with Client(segued.address, patience_s=60) as client:
            created = await client.create(ASKED)
            assert await segued.ended() == -9
            segued.start(failpoints="conductor.after_section=kill", wait=False)
            assert await segued.ended() == -9
            segued.flags = segued.flags[:2]
            await asyncio.to_thread(segued.start)
            check(await asyncio.wait_for(hear(client.watch(created.name, audio=BOTH)), 60), undisturbed)
    finally:
        segued.stop()


async def test_work_that_kills_every_conductor_fails_and_the_queue_continues(segued: Segued) -> None:
    segued.start(failpoints="conductor.after_plan=kill")
    async with Client(segued.address, patience_s=60) as client:
        created = await client.create(ASKED)
        assert await segued.ended() == -9
        for _ in range(3):  # the first loss does not count: other work could have ended that process
            # The conductor dies as soon as it continues: after the plan, before the first take.
            segued.start(failpoints="conductor.before_section=kill", wait=False)
            assert await segued.ended() == -9
        await asyncio.to_thread(segued.start)
        ended = await asyncio.wait_for(hear(client.watch(created.name)), 60)
        assert ended.composition.state == composition_pb2.STATE_FAILED
        assert "not tried again" in ended.composition.error.message
        after = await asyncio.wait_for(hear(client.compose(spec(seconds=2))), 60)
        assert after.composition.state == composition_pb2.STATE_SUCCEEDED
