"""Two processes with all roles on one Redis and one folder of artifacts: each part fails, and the piece goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.mesh.harness import Heard, Segued, embedded, hear, sha256, spec
from tests.runtime.redis_server import PROGRAM, RedisServer, running_redis

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.reference(PROGRAM), pytest.mark.only_shape("embedded", "it chooses its storage itself")]
BOTH = stream_pb2.AUDIO_SELECTION_BOTH
ASKED = spec("calm piano, 120 bpm, C major, verse chorus", seconds=12)
SLOW = "conductor.before_segment_row=sleep(60ms)"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Heard:
    """The same piece, made in one process with SQLite."""

    async def make() -> Heard:
        async with embedded(tmp_path_factory.mktemp("undisturbed")) as (_, client):
            return await hear(client.compose(ASKED, audio=BOTH))

    return asyncio.run(make())


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running_redis("--appendonly", "yes", "--appendfsync", "always") as running:
        yield running


@pytest.fixture
def pair(tmp_path: Path, server: RedisServer) -> Iterator[tuple[Segued, Segued]]:
    flags = ("--store-backend", "redis", "--store-url", server.url, "--artifacts-path", str(tmp_path / "artifacts"))
    found = Segued(tmp_path / "one", *flags), Segued(tmp_path / "two", *flags)
    yield found
    for each in found:
        each.stop()


def check(heard: Heard, undisturbed: Heard) -> None:
    assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
    assert sha256(heard.draft) == sha256(undisturbed.draft)
    assert sha256(heard.master) == sha256(undisturbed.master)
    assert heard.digests() == undisturbed.digests()


async def test_another_process_takes_over_from_one_that_was_killed(
    pair: tuple[Segued, Segued], undisturbed: Heard
) -> None:
    one, two = pair
    one.start(failpoints="conductor.after_segment=kill*4")
    async with Client(one.address, patience_s=60) as client:
        name = (await client.create(ASKED)).name
        await asyncio.to_thread(two.start)
        assert await one.ended() == -9
    async with Client(two.address, patience_s=60) as client:
        heard = await asyncio.wait_for(hear(client.watch(name, audio=BOTH)), 100)
        check(heard, undisturbed)
        assert heard.num_rewinds == 0
        assert heard.kinds.count("finished") == heard.kinds.count("accepted") == 1
    # A gateway that has seen nothing of it sends the same.
    await asyncio.to_thread(one.start)
    async with Client(one.address, patience_s=60) as client:
        check(await hear(client.watch(name, audio=BOTH)), undisturbed)


async def test_a_piece_goes_on_after_redis_was_killed_or_has_lost_the_end_of_its_log(
    pair: tuple[Segued, Segued], server: RedisServer, undisturbed: Heard
) -> None:
    one, two = pair
    one.start(failpoints=SLOW)
    two.start(failpoints=SLOW)
    async with Client(one.address, patience_s=60) as client:
        name = (await client.create(ASKED)).name
    async with Client(two.address, patience_s=60) as client:
        heard = Heard()
        listening = asyncio.create_task(hear(client.watch(name, audio=BOTH), heard))

        async def audio(seconds: float) -> None:
            while len(heard.draft) < seconds * 48000 * 8:
                assert not listening.done()
                await asyncio.sleep(0.01)

        await audio(1)
        server.kill()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(server.start)
        await audio(3)
        copied = server.copy()
        await audio(5)
        server.replace(copied)  # a failover to a replica that has not seen the last rows
        await asyncio.wait_for(listening, 100)
        check(heard, undisturbed)
        assert heard.num_rewinds == 2  # draft and master are announced to come again
        check(await hear(client.watch(name, audio=BOTH)), undisturbed)
