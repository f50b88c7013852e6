"""What only a store in Redis has: a server that is away, emptied, unsuitable or restarted, and indexes to repair."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from tests.runtime.redis_server import PROGRAM, running_redis
from tests.runtime.store_rows import LEASE_S, append, create, epoch_of, payloads, rows

from segue_runtime import errors, failpoints, logs
from segue_runtime.settings import LogSettings
from segue_runtime.store import RowMark, TailLost, Upload, UploadPart, caches
from segue_runtime.store.pool.records import ModelKey, OfferedModel, RendererOffer, WaitingSection
from segue_runtime.store.redis import RedisStore
from segue_runtime.store.redis.pool import RedisPool
from segue_runtime.store.redis.server import check_server, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence

    from tests.runtime.redis_server import RedisServer

    from segue_runtime.store import Event
    from segue_runtime.store.redis.pool_snapshot import PoolSnapshot

pytestmark = pytest.mark.reference(PROGRAM)
PASSWORD = "correct horse"
WORKER = Path(__file__).parents[2] / "examples/announcements/worker.py"


@pytest.fixture
async def on_server(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    redis_server.replace({})
    store = await RedisStore.open(redis_server.url)
    yield store
    await store.close()


async def test_a_cancellation_at_any_moment_of_a_call_ends_its_task(on_server: RedisStore) -> None:
    await on_server.check()
    for num_turns in range(40):
        task = asyncio.create_task(on_server.check())
        for _ in range(num_turns):
            await asyncio.sleep(0)
        if task.cancel():
            await asyncio.wait([task])
            assert task.cancelled(), num_turns


async def test_a_store_whose_data_are_gone_does_not_answer_until_they_are_back(
    on_server: RedisStore, redis_server: RedisServer
) -> None:
    await create(on_server, first_events=rows(b"1"))
    copied = redis_server.copy()
    redis_server.replace({})
    for attempt in (on_server.get("compositions/a"), on_server.depths(), on_server.check()):
        with pytest.raises(errors.StoreUnavailable):
            await attempt
    redis_server.replace(copied)
    assert await payloads(on_server) == [b"1"]
    redis_server.replace({})
    with pytest.raises(errors.StoreUnavailable, match="artifact folder"):
        await RedisStore.open(redis_server.url, may_create=False)


async def test_a_write_passes_the_failpoints_of_a_commit(on_server: RedisStore) -> None:
    for moment, is_written in (("before", False), ("after", True)):
        with failpoints.armed(f"store.{moment}_commit=error"), pytest.raises(errors.InternalError):
            await create(on_server)
        assert (await on_server.get("compositions/a") is not None) == is_written


async def test_work_goes_on_after_the_server_was_killed_and_started_again() -> None:
    with running_redis("--appendonly", "yes", "--appendfsync", "always") as server:
        store = await RedisStore.open(server.url)
        await create(store)
        epoch = await epoch_of(store)
        assert await append(store, "compositions/a", epoch, rows(b"1")) == 1
        waiting = asyncio.create_task(store.wait("compositions/a", 1, 60))
        server.kill()
        with pytest.raises(errors.StoreUnavailable) as caught:
            await store.get("compositions/a")
        assert caught.value.retry_after_s is not None
        server.start()
        assert await append(store, "compositions/a", epoch, rows(b"2")) == 2
        assert await waiting
        assert await payloads(store) == [b"1", b"2"]
        await store.close()


async def test_writes_whose_answers_are_lost_are_repeated_and_count_once(
    on_server: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts: Any = vars(on_server)["_scripts"]
    evaluate = scripts.evaluate
    lost: list[str] = []

    async def evaluate_and_lose(library: str, operation: str, *arguments: Any) -> list[Any]:
        answer: list[Any] = await evaluate(library, operation, *arguments)
        if len(lost) % 2 == 0:
            lost.append(operation)
            raise ConnectionResetError
        lost.append("")
        return answer

    monkeypatch.setattr(scripts, "evaluate", evaluate_and_lose)
    await create(on_server, first_events=rows(b"1"))
    claimed = await on_server.claim("c1", LEASE_S)
    assert claimed is not None
    assert (claimed.name, claimed.epoch) == ("compositions/a", 1)
    last = await on_server.append("compositions/a", 1, rows(b"2", b"3"), after=claimed.last_row, terminal=True)
    assert last.sequence == 3
    assert {"create", "claim", "append"} <= set(lost)
    assert await payloads(on_server) == [b"1", b"2", b"3"]
    assert await on_server.claim("c1", LEASE_S) is None


async def hear(writer: RedisStore, reader: RedisStore, epoch: int, after: RowMark, asked: list[str]) -> Sequence[Event]:
    """Append rows, one at a time, until one has come to a waiting reader with a message."""
    while True:
        waiting = asyncio.create_task(reader.wait("compositions/a", after.sequence, 60))
        await asyncio.sleep(0.05)
        last = await writer.append("compositions/a", epoch, rows(b"\0row\0"), after=after)
        assert await waiting
        num_asked = asked.count("read")
        found = await reader.read("compositions/a", after.sequence, stamp=after.stamp)
        assert [(event.sequence, event.stamp, event.payload) for event in found] == [(*astuple(last), b"\0row\0")]
        if asked.count("read") == num_asked:
            return found
        after = last


async def test_a_waiting_reader_has_a_small_row_without_asking_for_it(
    on_server: RedisStore, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "HEARD_AGE_S", 3600.0)
    other = await RedisStore.open(redis_server.url)
    asked = note_calls(on_server, monkeypatch)
    await create(other, first_events=rows(b"1"))
    claimed = await other.claim("c1", LEASE_S)
    assert claimed is not None
    heard = await hear(other, on_server, claimed.epoch, claimed.last_row, asked)
    last = heard[-1]
    assert list(heard) == list(await other.read("compositions/a", last.sequence - 1))
    # Readers that do not show the row before, or show another one, ask.
    num_asked = asked.count("read")
    assert list(await on_server.read("compositions/a", last.sequence - 1)) == list(heard)
    with pytest.raises(TailLost):
        await on_server.read("compositions/a", last.sequence - 1, stamp=last.stamp)
    assert asked.count("read") == num_asked + 2
    await append(other, "compositions/a", claimed.epoch, rows(b"end"), terminal=True)
    await on_server.delete("compositions/a")
    with pytest.raises(errors.CompositionNotFound):
        await on_server.read("compositions/a", last.sequence - 1, stamp=claimed.last_row.stamp)
    await other.close()


async def test_rows_of_a_message_that_a_failover_has_lost_are_followed_by_no_others(
    on_server: RedisStore, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "HEARD_AGE_S", 3600.0)
    other = await RedisStore.open(redis_server.url)
    asked = note_calls(on_server, monkeypatch)
    await create(other, first_events=rows(b"1"))
    claimed = await other.claim("c1", LEASE_S)
    assert claimed is not None
    (first,) = await hear(other, on_server, claimed.epoch, claimed.last_row, asked)
    kept = RowMark(first.sequence, first.stamp)
    copied = redis_server.copy()
    (lost,) = await hear(other, on_server, claimed.epoch, kept, asked)
    redis_server.replace(copied)
    found = await other.append("compositions/a", claimed.epoch, rows(b"other"), after=kept)
    assert found.sequence <= lost.sequence
    with pytest.raises(TailLost):
        await on_server.read("compositions/a", lost.sequence, stamp=lost.stamp)
    assert await payloads(on_server, after=kept.sequence) == [b"other"]
    await other.close()


def note_calls(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the functions that a store calls on the server."""
    scripts: Any = vars(store)["_scripts"]
    evaluate = scripts.evaluate
    called: list[str] = []

    async def note(library: str, operation: str, *arguments: Any) -> list[Any]:
        called.append(operation)
        answer: list[Any] = await evaluate(library, operation, *arguments)
        return answer

    monkeypatch.setattr(scripts, "evaluate", note)
    return called


async def test_indexes_are_rebuilt_from_the_hashes(on_server: RedisStore, redis_server: RedisServer) -> None:
    for index, owner in enumerate("aabbc"):
        await create(on_server, f"compositions/{index}", owner, request_id=f"r{index}")
    held = await on_server.claim("c1", LEASE_S)
    assert held is not None
    await on_server.request_cancel("compositions/4", "user")
    await on_server.create_upload(Upload("uploads/1", "ann", "audio/flac"), quota_bytes=9, max_uploads=9)
    await on_server.advance_upload("uploads/1", UploadPart(0, 4, "k"), quota_bytes=9)
    for name in ("uploads/2", "uploads/3"):
        await on_server.create_upload(Upload(name, "ann", "audio/flac", size=0), quota_bytes=9, max_uploads=9)
        await on_server.finish_upload(name, b"h")
    await create(on_server, "compositions/5", "d", upload="uploads/2", second_upload="uploads/3")
    names = [f"compositions/{index}" for index in range(6)]

    async def seen() -> list[object]:
        with redis_server.client() as client:
            kept: Any = client.hgetall("segue:uploads:bytes")
        pages = [await on_server.list(owner, ["composition"]) for owner in "abc"]
        return [await on_server.queue_positions(names), await on_server.depths(), pages, kept,
                (await on_server.list_uploads("ann")).uploads]  # fmt: skip

    before = await seen()
    with redis_server.client() as client:
        found: Any = client.keys("*")
        indexes = [key for key in found if client.type(key) == b"zset" and not key.startswith(b"segue:upload:parts:")]
        assert len(indexes) > 10
        needed = ["segue:upload:jobs:uploads/2", "segue:upload:jobs:uploads/3"]
        assert client.delete(*indexes, *needed, "segue:uploads:bytes", "segue:kinds") == len(indexes) + 4
        client.zadd("segue:waiting:composition", {"compositions/gone": 1})
    assert await seen() != before
    repaired = await on_server.repair()
    assert (repaired.jobs, repaired.uploads, repaired.removed) == (6, 3, 1)
    assert await seen() == before
    for name in ("uploads/2", "uploads/3"):
        with pytest.raises(errors.NotFinished):
            await on_server.discard_upload(name)
    order = []
    while (claimed := await on_server.claim("c1", LEASE_S)) is not None:
        order.append(claimed.name)
    order.remove("compositions/5")
    assert order == ["compositions/4", "compositions/2", "compositions/1", "compositions/3"]


async def test_finished_jobs_are_announced_to_each_worker_of_a_group_and_taken_over_from_a_dead_one(
    on_server: RedisStore, redis_server: RedisServer
) -> None:
    await create(on_server)
    await create(on_server, "compositions/b", "bob")
    for name in ("compositions/a", "compositions/b"):
        epoch = await epoch_of(on_server, name)
        await append(on_server, name, epoch, rows(b"end"), state="SUCCEEDED", terminal=True)
    with redis_server.client() as client:
        calls: Any = client
        calls.xgroup_create("segue:announced", "archive", id="0")
        held: Any = calls.xreadgroup("archive", "dead", {"segue:announced": ">"}, count=3)
        assert len(held[0][1]) == 3  # both accepted ones and a finished one, which is never acknowledged
        command = (sys.executable, str(WORKER), redis_server.url, "--group", "archive", "--idle-ms", "1")
        worker = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            assert worker.stdout is not None
            found = [json.loads(await worker.stdout.readline()) for _ in range(2)]
            assert [(each["name"], each["owner"], each["state"]) for each in found] == [
                ("compositions/a", "ann", "SUCCEEDED"), ("compositions/b", "bob", "SUCCEEDED"),
            ]  # fmt: skip
            while calls.xpending("segue:announced", "archive")["pending"]:  # noqa: ASYNC110 - another process does it
                await asyncio.sleep(0.01)
        finally:
            worker.kill()
            await worker.communicate()


async def test_unsuitable_servers_are_refused_or_named_in_the_log(redis_server: RedisServer) -> None:
    class Changed:
        """The server with other facts."""

        def __init__(self, **facts: object) -> None:
            self._facts = facts

        async def info(self) -> dict[str, object]:
            return {"redis_version": "7.2.4", "cluster_enabled": 0} | self._facts

    for facts, reason in (({"redis_version": "6.2.7"}, "7.0 or later"), ({"cluster_enabled": 1}, "cluster mode")):
        unsuitable: Any = Changed(**facts)
        with pytest.raises(errors.StoreUnavailable, match=reason):
            await check_server(unsuitable)
    written = io.StringIO()
    logs.configure(LogSettings(level="warning", format="json"), written)
    client = connect(redis_server.url)
    await check_server(client)
    await client.aclose(close_connection_pool=True)
    warned = written.getvalue()
    assert "appendonly" in warned
    assert "appendfsync" in warned
    assert "maxmemory-policy" not in warned


@pytest.mark.parametrize(
    "url",
    [
        f"redis://ann:{PASSWORD}@127.0.0.1:1/0", f"http://ann:{PASSWORD}@127.0.0.1", f"redis://ann:{PASSWORD}@127.0.0.1:x",
        f"redis+sentinel://ann:{PASSWORD}@127.0.0.1:1,127.0.0.1:2/main/3", f"redis+sentinel://ann:{PASSWORD}@127.0.0.1",
        f"rediss://ann:{PASSWORD}@127.0.0.1:1?ssl_ca_certs=/none",
    ],
)  # fmt: skip
async def test_an_address_without_a_store_is_an_error_that_does_not_show_the_password(url: str) -> None:
    with pytest.raises(errors.StoreUnavailable) as caught:
        await RedisStore.open(url)
    assert PASSWORD not in str(caught.value)


async def test_a_password_opens_the_server() -> None:
    with running_redis("--appendonly", "no", password=PASSWORD) as server:
        store = await RedisStore.open(f"redis://:{quote(PASSWORD)}@127.0.0.1:{server.port}/2")
        await create(store)
        await store.close()
        with pytest.raises(errors.StoreUnavailable):
            await RedisStore.open(server.url)


async def test_sentinels_lead_to_the_primary(redis_server: RedisServer) -> None:
    redis_server.replace({})
    with running_redis(sentinel_of=redis_server.port) as sentinel:
        store = await RedisStore.open(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/main")
        await create(store)
        await store.close()
    with redis_server.client() as client:
        assert client.exists("segue:job:compositions/a")


async def test_a_slot_that_another_process_has_just_given_away_is_not_given_again(
    on_server: RedisStore, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await RedisStore.open(redis_server.url)
    for name in ("compositions/far", "compositions/near"):
        await create(on_server, name)
        assert await on_server.claim_one(name, "c", LEASE_S)
    model = ModelKey("band")
    offered = RendererOffer("r1", "r1:1", 1, [OfferedModel(model, 1)])
    await on_server.pool.offer(offered, 20)
    snapshot = vars(RedisPool)["_snapshot"]
    near: list[int] = []

    async def overtaken(pool: RedisPool) -> PoolSnapshot:
        found: PoolSnapshot = await snapshot(pool)
        if pool is on_server.pool and not near:
            near.append(0)
            near.append(await other.pool.enter_line(WaitingSection("compositions/near", 1, "s", model, -9, 1)))
        return found

    monkeypatch.setattr(RedisPool, "_snapshot", overtaken)
    far = await on_server.pool.enter_line(WaitingSection("compositions/far", 1, "s", model, 9, 1))
    assert await on_server.pool.wait_for_lease(far, 0) is None
    assert await on_server.pool.wait_for_lease(near[1], 0) is not None
    assert [each.num_leases for each in await on_server.pool.renderers()] == [1]
    await other.close()


async def test_a_claim_and_a_position_run_as_many_commands_in_a_long_queue(
    on_server: RedisStore, redis_server: RedisServer
) -> None:
    """Counted in commands inside the functions, which do not depend on the computer."""
    costs: list[list[int]] = []
    for first, last in ((0, 20), (20, 600)):
        names = [f"compositions/{index}" for index in range(first, last)]
        *earlier, newest = names
        await asyncio.gather(*(create(on_server, name, f"owner {index % 4}") for index, name in enumerate(earlier)))
        await create(on_server, newest, "owner 3")  # after the others, so that it still waits
        if not costs:
            for _ in range(4):  # each owner has had a turn
                await on_server.claim("c1", LEASE_S)
        found = [await num_commands(redis_server, on_server.claim("c1", LEASE_S)) for _ in range(3)]
        found.append(await num_commands(redis_server, on_server.queue_positions([newest])))
        costs.append(found)
    assert max(costs[1][:3]) <= max(costs[0][:3])
    assert costs[1][3] <= costs[0][3]


async def num_commands(server: RedisServer, work: Coroutine[Any, Any, object]) -> int:
    """Return how many commands a call runs."""
    with server.client() as client:
        client.config_resetstat()
        await work
        counts: Any = client.info("commandstats")
        kept_out = {"cmdstat_info", "cmdstat_config|resetstat", "cmdstat_evalsha", "cmdstat_eval", "cmdstat_ping"}
        return sum(each["calls"] for name, each in counts.items() if name not in kept_out)


@pytest.mark.parametrize(
    ("setting", "value", "error"),
    [("min-replicas-to-write", 1, errors.StoreUnavailable), ("maxmemory", 1, errors.StorageFull)],
)
async def test_a_server_that_accepts_no_writes_is_an_error_until_it_does(
    on_server: RedisStore, redis_server: RedisServer, setting: str, value: int, error: type[errors.SegueError]
) -> None:
    await create(on_server, first_events=rows(b"1"))
    with redis_server.client() as client:
        client.config_set(setting, value)
        try:
            for attempt in (create(on_server, "compositions/b"), on_server.claim("c1", LEASE_S), on_server.check()):
                with pytest.raises(error):
                    await attempt
            assert await payloads(on_server) == [b"1"]
        finally:
            client.config_set(setting, 0)
    await create(on_server, "compositions/b")
    assert (await on_server.depths())["composition"].waiting == 2
