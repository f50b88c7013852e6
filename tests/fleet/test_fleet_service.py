"""A cluster of processes: any gateway serves any piece, and a restart of every process loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, cast

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.fleet.fleet import Fleet, running_fleet
from tests.fleet.members import MEMBERS
from tests.mesh.harness import Heard, embedded, hear, sha256, spec

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client import Access, Client, SegueError
from segue_client.channel import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue.composer.v1.spec_pb2 import CompositionSpec
    from segue_client import Update

pytestmark = [pytest.mark.reference("redis-server", "versitygw"), pytest.mark.timeout(300)]
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
BOTH = stream_pb2.AUDIO_SELECTION_BOTH
ASKED = spec("calm piano, 120 bpm, C major, verse chorus", seconds=12)
LOAD = [spec("calm piano, 120 bpm, C major, verse chorus", seconds=20, seed=seed) for seed in range(4)]
REQUEST = "7a1f6f0e-8c1e-4c0e-9d68-0f5a3c2b1d4e"
CALM = ("--conductor-lease", "10s", "--conductor-heartbeat", "1s", "--server-drain", "3s")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(tmp_path_factory.mktemp("fleet"), *CALM) as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Heard]:
    """The same pieces, made in one process on a disk: the one of `ASKED` first."""

    async def make() -> list[Heard]:
        async with embedded(tmp_path_factory.mktemp("undisturbed")) as (_, client):
            return [await hear(client.compose(each, audio=BOTH)) for each in (ASKED, *LOAD)]

    return asyncio.run(make())


def check(heard: Heard, expected: Heard) -> None:
    assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
    assert heard.num_rewinds == 0
    assert (sha256(heard.draft), sha256(heard.master)) == (sha256(expected.draft), sha256(expected.master))
    assert heard.digests() == expected.digests()


def numbers(updates: list[Update]) -> list[int]:
    """Return the sequences of what the log contains, without parts of segments and what is not logged."""
    memory = {"section_progress", "checkpoint", "audio"}
    return [each.event.sequence for each in updates if each.kind not in memory]


async def test_any_gateway_serves_any_piece(fleet: Fleet, undisturbed: list[Heard]) -> None:
    async with Client(fleet.gateways[0]) as one, Client(fleet.gateways[1]) as other:
        created = await one.create(ASKED, request_id=REQUEST)
        assert (await other.create(ASKED, request_id=REQUEST)).name == created.name
        check(await hear(other.watch(created.name, audio=BOTH)), undisturbed[0])
        of_one, of_other = await one.get(created.name), await other.get(created.name)
        assert of_one == of_other
        for output in of_one.outputs:
            parts = [b"".join([block async for block in client.read(output)]) for client in (one, other)]
            assert sha256(parts[0]) == sha256(parts[1]) == output.sha256
        # A page token of one gateway is one of the other, too.
        assert {each.name async for each in one.compositions()} == {each.name async for each in other.compositions()}
        await other.delete(created.name)
        with pytest.raises(SegueError):
            await one.get(created.name)


async def test_a_watcher_moves_between_gateways_with_its_cursor(fleet: Fleet, undisturbed: list[Heard]) -> None:
    """It reads a few messages from each in turn: together they are the whole stream, without gap and repetition."""
    heard = Heard()
    async with Client(fleet.gateways[0]) as one, Client(fleet.gateways[1]) as other:
        name = (await one.create(ASKED)).name
        moves = 0
        while not heard.updates or heard.updates[-1].kind != "finished":
            client = (one, other)[moves % 2]
            moves += 1
            cursor = heard.cursor if heard.updates else ""
            async with contextlib.aclosing(client.watch(name, cursor=cursor, audio=BOTH)) as updates:
                num_read = 0
                async for update in updates:
                    heard.take(update)
                    num_read += update.kind != "checkpoint"
                    if num_read == 5:
                        break
    assert moves > 5
    check(heard, undisturbed[0])
    logged = numbers(heard.updates)
    assert logged == sorted(set(logged))
    # The log of one watcher that stays has the same rows.
    assert heard.kinds.count("section_finished") == undisturbed[0].kinds.count("section_finished")
    assert heard.kinds.count("accepted") == heard.kinds.count("finished") == 1


async def restart(fleet: Fleet, member: str) -> None:
    """Stop a process as a deployment does, and start it again at its address."""
    process = fleet.members[member]
    assert await asyncio.to_thread(process.terminate) == 0
    await asyncio.to_thread(process.start)


async def test_a_rolling_restart_of_everything_under_load_loses_nothing(fleet: Fleet, undisturbed: list[Heard]) -> None:
    """Callers at both gateways keep their streams while every process is replaced, one after the other."""
    is_over = asyncio.Event()
    made: list[tuple[int, Heard]] = []

    async def call(number: int, specs: list[CompositionSpec]) -> None:
        async with Client(fleet.gateways[number % 2], patience_s=60) as client:
            while not is_over.is_set():
                index = (number + len(made)) % len(specs)
                made.append((index, await hear(client.compose(specs[index], audio=BOTH))))

    async with asyncio.TaskGroup() as group:
        for number in range(len(LOAD)):
            group.create_task(call(number, LOAD))
        await asyncio.sleep(1)
        for member in MEMBERS:
            await restart(fleet, member)
        is_over.set()
    assert len(made) >= len(LOAD)
    for index, heard in made:
        check(heard, undisturbed[1 + index])
        assert heard.kinds.count("section_finished") == len(heard.composition.sections)
        logged = numbers(heard.updates)
        assert logged == sorted(set(logged))


async def health_becomes(address: str, status: int) -> None:
    async with connect(Access(address)) as channel, asyncio.timeout(60):
        health = cast("Any", health_pb2_grpc.HealthStub(channel))
        while True:
            answer = await health.Check(health_pb2.HealthCheckRequest(service="segue.composer.v1.ComposerService"))
            if answer.status == status:
                return
            await asyncio.sleep(0.1)


async def test_a_gateway_is_not_ready_without_redis_and_ready_without_its_bucket(fleet: Fleet) -> None:
    """A bucket is away for all gateways at once, and most calls need none."""
    address = fleet.gateways[0]
    async with Client(address, patience_s=60) as client:
        made = (await hear(client.compose(spec(seconds=2)))).composition
        fleet.storage.s3.stop()
        try:
            assert (await client.create(spec(seconds=2, seed=77))).name
            await asyncio.sleep(3)  # longer than two checks
            await health_becomes(address, SERVING)
            assert (await client.get(made.name)).state == composition_pb2.STATE_SUCCEEDED
            assert "finished" in (await hear(client.watch(made.name))).kinds
        finally:
            fleet.storage.s3.start()
        fleet.storage.redis.kill()
        try:
            await health_becomes(address, NOT_SERVING)
        finally:
            fleet.storage.redis.start()
        await health_becomes(address, SERVING)
        assert [each async for each in client.read(made.outputs[0])]
