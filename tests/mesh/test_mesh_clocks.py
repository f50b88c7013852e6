"""A wall clock that jumps, and pieces that no conductor holds."""

from __future__ import annotations

import asyncio
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.mesh.harness import embedded, free_port, hear, reach, spec
from tests.mesh.shapes import shape

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client import SegueError
from segue_client.errors import from_status
from segue_runtime.clocks import Clocks

if TYPE_CHECKING:
    from pathlib import Path

BOTH = stream_pb2.AUDIO_SELECTION_BOTH
HOUR_S = 3600.0


async def claims_nothing(*_: object, **_more: object) -> None:
    """Be the claim of conductors that are not there."""
    await asyncio.sleep(0.05)


class JumpingClock:
    """A wall clock, and by how much it has jumped."""

    def __init__(self) -> None:
        self.jumped_s = 0.0
        self.clocks = Clocks(wall=self.time)

    def time(self) -> float:
        return time.time() + self.jumped_s


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> JumpingClock:
    """Return the wall clock of conductor and gateway; the store of a mesh gets it as its clocks."""
    jumping = JumpingClock()
    clock = SimpleNamespace(time=jumping.time, monotonic=time.monotonic, sleep=time.sleep)
    # The clock of our code: grpc's own one must agree with that of its C core.
    for name, module in list(sys.modules.items()):
        if name.startswith(("segue_conductor", "segue_gateway")) and getattr(module, "time", None) is time:
            monkeypatch.setattr(module, "time", clock)
    return jumping


@pytest.mark.only_shape("embedded", "a store in Redis has the time of its server")
@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
async def test_a_clock_that_jumps_moves_no_piece_to_another_conductor(
    tmp_path: Path, jumping: JumpingClock, jump_s: float
) -> None:
    flags: dict[str, object] = {
        "conductor.count": 2,
        "conductor.heartbeat": "50ms",
        "failpoints.active": "conductor.after_take=sleep(300ms)",
    }
    async with embedded(tmp_path / "home", flags, jumping.clocks) as (_, client):
        created = await client.create(spec(seconds=4))
        await reach(client.watch(created.name), "planned")
        jumping.jumped_s = jump_s
        heard = await asyncio.wait_for(hear(client.watch(created.name, audio=BOTH)), 90)
        assert heard.composition.state == composition_pb2.STATE_SUCCEEDED, heard.composition.error
        assert heard.kinds.count("started") == 1


@pytest.mark.only_shape("embedded", "a store in Redis has the time of its server")
async def test_the_time_limit_does_not_count_the_time_in_which_no_conductor_works(
    tmp_path: Path, jumping: JumpingClock
) -> None:
    away: dict[str, object] = {"renderer.addresses": f"127.0.0.1:{free_port()}"}
    async with embedded(tmp_path, away, jumping.clocks) as (_, client):
        created = await client.create(spec(seconds=4))
        await reach(client.watch(created.name), "started")
    jumping.jumped_s = 2 * HOUR_S  # the server was off, for longer than the time limit
    async with embedded(tmp_path, clocks=jumping.clocks) as (_, client):
        heard = await asyncio.wait_for(hear(client.watch(created.name)), 90)
    assert heard.composition.state == composition_pb2.STATE_SUCCEEDED, heard.composition.error


async def test_a_begun_piece_that_nobody_holds_is_ended_by_its_deletion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    async with embedded(home, {"conductor.lease": "200ms", "conductor.heartbeat": "50ms"}) as (_, client):
        created = await client.create(spec("calm piano, 120 bpm, C major", seconds=40))
        await reach(client.watch(created.name), "planned")
    monkeypatch.setattr(shape().store_class, "claim", claims_nothing)
    async with embedded(home) as (_, client):
        await client.cancel(created.name)
        await client.delete(created.name)
        assert not [each async for each in client.compositions()]
        assert not list(shape().artifact_folder(home).rglob(created.name.rpartition("/")[2]))


async def test_a_queued_piece_is_cancelled_and_deleted_without_a_conductor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shape().store_class, "claim", claims_nothing)
    async with embedded(tmp_path / "home") as (_, client):
        created = await client.create(spec(seconds=4))
        watching = asyncio.create_task(hear(client.watch(created.name)))
        cancelled = await client.cancel(created.name)
        assert cancelled.state == composition_pb2.STATE_CANCELLED
        heard = await asyncio.wait_for(watching, 60)
        assert heard.kinds.count("finished") == 1
        assert from_status(heard.composition.error).reason == "CANCELLED_BY_USER"
        await client.delete(created.name)
        with pytest.raises(SegueError) as caught:
            await client.get(created.name)
        assert caught.value.code == grpc.StatusCode.NOT_FOUND
