"""The contract of every store; each backend is one parameter, and one of them loses every ring on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from segue_runtime import errors
from segue_runtime.artifacts import Ref
from segue_runtime.store import Fenced, LogEnded, NewEvent, NewJob, Progress, SqliteStore, Store, Take, Upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LIMIT = 1000
LEASE_S = 10.0


@dataclass
class Clock:
    """Time that a test moves."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Opens(Protocol):
    """Opens the backend under test; again on the same place for another process's view."""

    async def __call__(self) -> Store: ...


@pytest.fixture
def clock() -> Clock:
    return Clock()


def deaf(key: tuple[str, ...]) -> None:
    """Lose a ring."""


@pytest.fixture(params=["sqlite", "sqlite-deaf"])
async def opens(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Opens]:
    async with contextlib.AsyncExitStack() as opened:

        async def open_one() -> Store:
            store = await SqliteStore.open(tmp_path / "store" / "segue.db", clock=clock, retention_s=100, tail_rows=4)
            if request.param == "sqlite-deaf":
                store.doorbell.ring = deaf  # type: ignore[method-assign]  # the fault under test
            opened.push_async_callback(store.close)
            return store

        yield open_one


@pytest.fixture
async def store(opens: Opens) -> Store:
    return await opens()


def job(name: str = "compositions/a", owner: str = "ann", **changes: object) -> NewJob:
    fields: dict[str, object] = {
        "name": name, "kind": "composition", "owner": owner, "spec_digest": b"d", "spec": b"spec", "resource": b"r",
    }  # fmt: skip
    return NewJob(**(fields | changes))  # type: ignore[arg-type] # named by the caller


def rows(*payloads: bytes) -> list[NewEvent]:
    return [NewEvent("audio", payload) for payload in payloads]


async def create(store: Store, name: str = "compositions/a", owner: str = "ann", **changes: object) -> None:
    await store.create(job(name, owner, **changes), queue_limit=LIMIT)


async def epoch_of(store: Store, name: str = "compositions/a") -> int:
    claimed = await store.claim("c1", LEASE_S, name=name)
    assert claimed is not None
    return claimed.epoch


async def payloads(store: Store, name: str = "compositions/a", after: int = 0) -> list[bytes]:
    return [event.payload for event in await store.read(name, after, 10_000)]


# Jobs


async def test_a_job_comes_back_as_it_was_made(store: Store, clock: Clock) -> None:
    made = job(labels={"mood": "ünruly"}, first_events=rows(b"1", b"2"), time_limit_s=5.0, attached_until=7.0)
    created = await store.create(made, queue_limit=LIMIT)
    assert created.is_new
    found = await store.get(made.name)
    assert found == created.job
    assert (found.spec, found.resource, found.state, found.labels) == (b"spec", b"r", "QUEUED", {"mood": "ünruly"})
    assert (found.last_sequence, found.created, found.time_limit_s, found.attached_until) == (2, clock.now, 5.0, 7.0)
    assert found.is_waiting
    assert [event.sequence for event in await store.read(made.name, 0)] == [1, 2]
    assert await store.get("compositions/none") is None


async def test_a_request_id_makes_creation_idempotent_also_twenty_at_once_and_when_the_queue_is_full(
    store: Store,
) -> None:
    async def once(index: int) -> tuple[str, bool]:
        made = await store.create(job(f"compositions/{index}", request_id="r1"), queue_limit=1)
        return made.job.name, made.is_new

    results = await asyncio.gather(*(once(index) for index in range(20)))
    assert len({name for name, _ in results}) == 1
    assert sum(is_new for _, is_new in results) == 1
    with pytest.raises(errors.RequestIdReused) as caught:
        await store.create(job("compositions/x", request_id="r1", spec_digest=b"other"), queue_limit=LIMIT)
    assert caught.value.metadata["name"] == results[0][0]
    other = await store.create(job("compositions/y", "bob", request_id="r1", spec_digest=b"other"), queue_limit=LIMIT)
    assert other.is_new


async def test_a_full_queue_refuses_with_a_retry_time_and_loses_none(store: Store) -> None:
    results = await asyncio.gather(
        *(store.create(job(f"compositions/{index}"), queue_limit=4, retry_after_s=3) for index in range(20)),
        return_exceptions=True,
    )
    refused = [each for each in results if isinstance(each, BaseException)]
    assert len(refused) == 16
    assert all(isinstance(each, errors.QueueFull) and each.retry_after_s == 3 for each in refused)
    assert (await store.depths())["composition"].waiting == 4
    await epoch_of(store, next(each.job.name for each in results if not isinstance(each, BaseException)))
    assert (await store.create(job("compositions/later"), queue_limit=4)).is_new


async def test_listing_pages_newest_first_and_filters(store: Store) -> None:
    for index in range(7):
        await create(store, f"compositions/{index}", labels={"parity": str(index % 2), "all": "x"})
    await create(store, "compositions/other", "bob")
    await create(store, "analyses/1", kind="analysis")
    first = await store.list("ann", ["composition"], limit=4)
    rest = await store.list("ann", ["composition"], limit=4, after=first.after)
    both = await store.list("ann", ["composition", "analysis"], limit=3)
    assert [each.name for each in both.jobs] == ["analyses/1", "compositions/6", "compositions/5"]
    assert [each.name[-1] for each in (*first.jobs, *rest.jobs)] == list("6543210")
    assert rest.after is None
    odd = await store.list("ann", ["composition"], labels={"parity": "1", "all": "x"})
    assert [each.name[-1] for each in odd.jobs] == list("531")
    epoch = await epoch_of(store, "compositions/3")
    await store.append("compositions/3", epoch, [], state="RENDERING")
    assert [each.name for each in (await store.list("ann", ["composition"], states=["RENDERING"])).jobs] == [
        "compositions/3"
    ]


async def test_only_a_finished_job_can_be_deleted_and_its_request_id_is_free_again(store: Store) -> None:
    await create(store, request_id="r1", first_events=rows(b"1"))
    with pytest.raises(errors.NotFinished):
        await store.delete("compositions/a")
    epoch = await epoch_of(store)
    with pytest.raises(errors.NotFinished):
        await store.delete("compositions/a")
    await store.append("compositions/a", epoch, rows(b"end"), terminal=True)
    await store.delete("compositions/a")
    for attempt in (store.delete("compositions/a"), store.read("compositions/a", 0)):
        with pytest.raises(errors.CompositionNotFound):
            await attempt
    with pytest.raises(errors.JobNotFound):
        await store.read("analyses/a", 0)
    assert (await store.create(job(request_id="r1", spec_digest=b"other"), queue_limit=LIMIT)).is_new


async def test_a_finished_job_expires_after_its_retention(store: Store, clock: Clock) -> None:
    await create(store)
    await store.append("compositions/a", await epoch_of(store), rows(b"end"), terminal=True)
    clock.now += 99
    assert await store.expired() == []
    clock.now += 2
    assert [each.name for each in await store.expired()] == ["compositions/a"]


# Queue


async def test_owners_take_turns_and_each_owner_is_served_in_order(store: Store) -> None:
    for index in range(3):
        await create(store, f"compositions/ann{index}")
    for index in range(2):
        await create(store, f"compositions/bob{index}", "bob")
    order = []
    while (claimed := await store.claim("c1", LEASE_S)) is not None:
        order.append(claimed.name.removeprefix("compositions/"))
    assert order == ["ann0", "bob0", "ann1", "bob1", "ann2"]


@given(
    owners=st.lists(st.sampled_from("abc"), max_size=10), served=st.integers(0, 4), ending=st.sets(st.integers(0, 9))
)
@hypothesis_settings(max_examples=15, deadline=None)
def test_the_queue_position_is_the_order_of_claims(
    owners: list[str], served: int, ending: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def run() -> None:
        store = await SqliteStore.open(tmp_path_factory.mktemp("store") / "segue.db")
        for index, owner in enumerate(owners):
            await create(store, f"compositions/{index}", owner)
        for _ in range(served):
            await store.claim("c1", LEASE_S)
        for index in ending & set(range(len(owners))):
            await store.request_cancel(f"compositions/{index}", "user")
        promised = {}
        for index in range(len(owners)):
            position = await store.queue_position(f"compositions/{index}")
            if position:
                promised[position] = f"compositions/{index}"
        order = []
        while (claimed := await store.claim("c1", LEASE_S)) is not None:
            order.append(claimed.name)
        assert [promised[position] for position in sorted(promised)] == order
        assert sorted(promised) == list(range(1, len(order) + 1))
        await store.close()

    asyncio.run(run())


async def test_a_conductor_claims_only_its_kinds(store: Store) -> None:
    await create(store, "analyses/1", kind="analysis")
    assert await store.claim("c1", LEASE_S, ["composition", "master"]) is None
    claimed = await store.claim("c1", LEASE_S, ["composition", "analysis"])
    assert claimed is not None
    assert claimed.kind == "analysis"


async def test_a_lost_lease_is_claimed_by_another_and_fences_the_first(store: Store, clock: Clock) -> None:
    await create(store)
    first = await epoch_of(store)
    assert await store.claim("c2", LEASE_S) is None
    clock.now += LEASE_S - 1
    await store.renew("compositions/a", first, LEASE_S)
    clock.now += LEASE_S - 1
    assert await store.claim("c2", LEASE_S) is None
    clock.now += 2
    second = await store.claim("c2", LEASE_S)
    assert second is not None
    assert (second.epoch, second.claims, second.claimed_by) == (first + 1, 2, "c2")
    for attempt in (
        store.append("compositions/a", first, rows(b"stale")),
        store.renew("compositions/a", first, LEASE_S),
        store.release("compositions/a", first),
    ):
        with pytest.raises(Fenced):
            await attempt
    assert await payloads(store) == []


async def test_claims_count_tries_without_progress(store: Store, clock: Clock) -> None:
    await create(store)
    for count in (1, 2, 3):
        claimed = await store.claim("c1", LEASE_S)
        assert claimed is not None
        assert claimed.claims == count
        clock.now += LEASE_S + 1
    assert claimed is not None
    await store.append("compositions/a", claimed.epoch, rows(b"1"), checkpoint=b"section 1")
    claimed = await store.claim("c1", LEASE_S)
    assert claimed is not None
    assert (claimed.claims, claimed.checkpoint) == (1, b"section 1")
    await store.release("compositions/a", claimed.epoch)
    released = await store.get("compositions/a")
    assert released is not None
    assert (released.claims, released.is_waiting) == (0, True)


async def test_cancel_reaches_a_running_job_by_its_heartbeat_and_by_a_wait(opens: Opens) -> None:
    store, gateway = await opens(), await opens()
    await create(store)
    epoch = await epoch_of(store)
    assert not (await store.renew("compositions/a", epoch, LEASE_S)).cancel_requested
    assert not await store.wait_for_cancel("compositions/a", 0.1)
    waiting = asyncio.create_task(store.wait_for_cancel("compositions/a", 30))
    await asyncio.sleep(0)
    await gateway.request_cancel("compositions/a", "user")
    await gateway.request_cancel("compositions/a", "client gone")
    assert await waiting
    assert (await store.renew("compositions/a", epoch, LEASE_S)).cancel_reason == "user"
    await store.append("compositions/a", epoch, rows(b"end"), state="CANCELLED", terminal=True)
    assert (await store.request_cancel("compositions/a", "again")).state == "CANCELLED"
    with pytest.raises(errors.CompositionNotFound):
        await store.request_cancel("compositions/none", "user")


async def test_a_waiting_job_that_is_cancelled_comes_first_and_can_be_claimed_by_name(store: Store) -> None:
    for name in "abc":
        await create(store, f"compositions/{name}")
    await store.request_cancel("compositions/c", "user")
    assert await store.queue_position("compositions/c") == 1
    claimed = await store.claim("gateway", LEASE_S, name="compositions/c")
    assert claimed is not None
    assert claimed.cancel_reason == "user"
    assert await store.claim("gateway", LEASE_S, name="compositions/c") is None


async def test_the_latest_attachment_counts(store: Store) -> None:
    await create(store)
    epoch = await epoch_of(store)
    assert (await store.renew("compositions/a", epoch, LEASE_S)).attached_until is None
    for until in (50.0, 70.0, 60.0):
        await store.attach("compositions/a", until)
    assert (await store.renew("compositions/a", epoch, LEASE_S)).attached_until == 70.0


async def test_waiting_for_a_job_ends_when_one_comes_from_any_process_or_a_lease_is_lost(
    opens: Opens, clock: Clock
) -> None:
    conductor, gateway = await opens(), await opens()
    assert not await conductor.wait_for_job(0.1)
    waiting = asyncio.create_task(conductor.wait_for_job(30, ["composition"]))
    await asyncio.sleep(0.05)
    await create(gateway, "analyses/1", kind="analysis")
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await create(gateway)
    assert await waiting
    await epoch_of(conductor)
    waiting = asyncio.create_task(conductor.wait_for_job(30, ["composition"]))
    await asyncio.sleep(0.05)
    clock.now += LEASE_S + 1
    assert await waiting


# Log


async def test_an_append_changes_everything_or_nothing(store: Store) -> None:
    await create(store)
    epoch = await epoch_of(store)
    take = Take("ann", "k", "mix", Ref("takes/1", 0, 9, b"h"), 480, {"rate": 48000})
    last = await store.append(
        "compositions/a", epoch, rows(b"1", b"2"), resource=b"r2", state="RENDERING", checkpoint=b"cp", takes=[take]
    )
    assert last == 2
    found = await store.get("compositions/a")
    assert found is not None
    assert (found.resource, found.state, found.checkpoint, found.last_sequence) == (b"r2", "RENDERING", b"cp", 2)
    assert await store.takes("ann", "k") == {"mix": take}
    with pytest.raises(Fenced):
        await store.append("compositions/a", epoch - 1, rows(b"x"), takes=[Take("ann", "k2", "mix", take.ref, 1)])
    assert await store.takes("ann", "k2") == {}
    assert await store.append("compositions/a", epoch, [], state="MASTERING") == 2


async def test_nothing_follows_the_terminal_event(store: Store) -> None:
    await create(store)
    epoch = await epoch_of(store)
    await store.append("compositions/a", epoch, rows(b"1", b"end"), state="SUCCEEDED", terminal=True)
    for terminal in (False, True):
        with pytest.raises(LogEnded):
            await store.append("compositions/a", epoch, rows(b"more"), terminal=terminal)
    with pytest.raises(Fenced):
        await store.renew("compositions/a", epoch, LEASE_S)
    assert await store.claim("c2", LEASE_S, name="compositions/a") is None
    assert await payloads(store) == [b"1", b"end"]


async def test_reading_pages_through_a_log_longer_than_the_tail(opens: Opens) -> None:
    store, other = await opens(), await opens()
    await create(store)
    epoch = await epoch_of(store)
    written = [str(index).encode() for index in range(25)]
    for payload in written:
        await store.append("compositions/a", epoch, rows(payload))
        await store.read("compositions/a", 0, 3)
    for reader, limit in itertools.product((store, other), (1, 3, 7, 100)):
        seen: list[bytes] = []
        while page := await reader.read("compositions/a", len(seen), limit):
            assert [event.sequence for event in page] == list(range(len(seen) + 1, len(seen) + len(page) + 1))
            seen += [event.payload for event in page]
        assert seen == written


async def test_cursors_outside_the_log_name_its_bounds(store: Store) -> None:
    await create(store, first_events=rows(b"1", b"2", b"3"))
    assert list(await store.read("compositions/a", 3)) == []
    for after in (4, 2**62):
        with pytest.raises(errors.CursorAhead) as ahead:
            await store.read("compositions/a", after)
        assert ahead.value.metadata["lastSequence"] == "3"
    assert await store.compact("compositions/a", 2) == 2
    assert await store.floor("compositions/a") == 2
    assert await payloads(store, after=2) == [b"3"]
    with pytest.raises(errors.CursorExpired) as expired:
        await store.read("compositions/a", 1)
    assert expired.value.metadata["firstSequence"] == "2"
    assert await store.compact("compositions/a", 99) == 2
    assert await store.compact("compositions/a", 1) == 2


@pytest.mark.parametrize("same_process", [True, False])
async def test_a_watcher_sees_every_event_of_any_process(opens: Opens, same_process: bool) -> None:
    conductor = await opens()
    gateway = conductor if same_process else await opens()
    await create(conductor)
    epoch = await epoch_of(conductor)

    async def watch() -> list[int]:
        seen: list[int] = []
        while not seen or seen[-1] < 30:
            page = await gateway.read("compositions/a", len(seen))
            seen += [event.sequence for event in page]
            if not page:
                await gateway.wait("compositions/a", len(seen), 10)
        return seen

    watchers = [asyncio.create_task(watch()) for _ in range(5)]
    for index in range(30):
        await conductor.append("compositions/a", epoch, rows(b"x"))
        if index % 10 == 0:
            await asyncio.sleep(0.05)
    for seen in await asyncio.gather(*watchers):
        assert seen == list(range(1, 31))


async def test_waiting_times_out_and_many_wait_for_one_bell(store: Store) -> None:
    await create(store, first_events=rows(b"1"))
    assert not await store.wait("compositions/a", 1, 0.05)
    assert await store.wait("compositions/a", 0, 10)
    epoch = await epoch_of(store)
    waiting = [asyncio.create_task(store.wait("compositions/a", 1, 30)) for _ in range(50)]
    given_up = asyncio.create_task(store.wait("compositions/a", 1, 30))
    await asyncio.sleep(0.05)
    given_up.cancel()
    await store.append("compositions/a", epoch, rows(b"2"))
    assert all(await asyncio.gather(*waiting))


async def test_a_deleted_job_wakes_its_watchers(store: Store) -> None:
    await create(store)
    await store.append("compositions/a", await epoch_of(store), rows(b"end"), terminal=True)
    waiting = asyncio.create_task(store.wait("compositions/a", 1, 30))
    await asyncio.sleep(0.05)
    await store.delete("compositions/a")
    assert await waiting


# Tables


async def test_takes_are_an_owners_own_and_a_key_again_replaces(store: Store) -> None:
    ref = Ref("takes/1", 5, 9, b"hash")
    for layer in ("mix", "bass"):
        await store.put_take(Take("ann", "k", layer, ref, 480))
    await store.put_take(Take("ann", "k", "mix", ref, 960, {"a": [1]}))
    found = await store.takes("ann", "k")
    assert (sorted(found), found["mix"].frames, found["mix"].metadata) == (["bass", "mix"], 960, {"a": [1]})
    assert await store.takes("bob", "k") == {}
    assert await store.forget_takes("ann", "k") == 2
    assert await store.takes("ann", "k") == {}


async def test_an_upload_grows_only_at_its_end_and_within_the_quota(store: Store) -> None:
    await store.create_upload(Upload("uploads/1", "ann", "audio/flac", size=10), quota_bytes=15)
    await store.create_upload(Upload("uploads/2", "ann", "audio/flac"), quota_bytes=15)
    assert (await store.advance_upload("uploads/1", 0, 4, quota_bytes=15)).offset == 4
    for offset, length in ((0, 4), (5, 1), (4, 7)):
        with pytest.raises(errors.OffsetOutOfRange) as caught:
            await store.advance_upload("uploads/1", offset, length, quota_bytes=15)
        assert caught.value.metadata["size"] == "4"
    with pytest.raises(errors.OffsetOutOfRange):
        await store.finish_upload("uploads/1", b"h")
    with pytest.raises(errors.QuotaExceeded):
        await store.advance_upload("uploads/2", 0, 6, quota_bytes=15)
    with pytest.raises(errors.QuotaExceeded):
        await store.create_upload(Upload("uploads/3", "ann", "audio/flac", size=6), quota_bytes=15)
    await store.advance_upload("uploads/1", 4, 6, quota_bytes=15)
    done = await store.finish_upload("uploads/1", b"h")
    assert (done.finished, done.size, done.digest) == (True, 10, b"h")
    for attempt in (store.advance_upload("uploads/1", 10, 1, quota_bytes=15), store.finish_upload("uploads/1", b"h")):
        with pytest.raises(errors.UploadFinished):
            await attempt
    await store.delete_upload("uploads/1")
    assert await store.get_upload("uploads/1") is None
    with pytest.raises(errors.ArtifactNotFound):
        await store.delete_upload("uploads/1")


# Progress


async def test_progress_is_the_last_that_was_said_and_no_row_of_the_log(store: Store, opens: Opens) -> None:
    await create(store, "compositions/a")
    assert (await store.progress("compositions/a")).version == 0
    job = await store.claim("c1", LEASE_S)
    assert job is not None
    for payload in (b"one", b"two"):
        await store.set_progress(job.name, job.epoch, payload)
    assert await store.progress(job.name) == Progress(2, b"two")
    assert await (await opens()).progress(job.name) == Progress(2, b"two")
    assert await store.read(job.name, job.last_sequence) == []
    with pytest.raises(Fenced):
        await store.set_progress(job.name, job.epoch - 1, b"late")
