"""The contract of every store: jobs, and the queue in which they wait."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.runtime.store_rows import LEASE_S, LIMIT, Clock, Opens, append, create, epoch_of, job, payloads, rows

from segue_runtime import errors
from segue_runtime.store import Fenced, SqliteStore, Store
from segue_runtime.store.queue import order as queue_order

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.runtime.store_backends import Backend

# Jobs


async def test_a_job_is_read_as_it_was_created(store: Store, clock: Clock, steady: Clock) -> None:
    made = job(labels={"mood": "ünruly"}, first_events=rows(b"1", b"2"), attached_s=7.0)
    created = await store.create(made, queue_limit=LIMIT)
    assert created.is_new
    found = await store.get(made.name)
    assert found == created.job
    assert (found.spec, found.resource, found.state, found.labels) == (b"spec", b"r", "QUEUED", {"mood": "ünruly"})
    assert (found.last_sequence, found.created, found.attached_until) == (2, clock.now, steady.now + 7)
    assert found.is_waiting
    assert [event.sequence for event in await store.read(made.name, 0)] == [1, 2]
    assert await store.get("compositions/none") is None


async def test_a_request_id_makes_creation_idempotent_concurrently_and_with_a_full_queue(
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


async def test_a_full_queue_refuses_and_loses_no_job(store: Store) -> None:
    results = await asyncio.gather(
        *(store.create(job(f"compositions/{index}"), queue_limit=4) for index in range(20)),
        return_exceptions=True,
    )
    refused = [each for each in results if isinstance(each, BaseException)]
    assert len(refused) == 16
    assert all(isinstance(each, errors.QueueFull) for each in refused)
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
    every = await store.list(None, ["analysis", "composition"], limit=4)
    after = await store.list(None, ["composition", "analysis"], limit=9, after=every.after)
    assert [each.name for each in (*every.jobs, *after.jobs)] == [
        "analyses/1", "compositions/other", *(f"compositions/{index}" for index in range(6, -1, -1)),
    ]  # fmt: skip
    assert after.after is None
    assert [each.name[-1] for each in (await store.list(None, ["composition"], labels={"parity": "1"})).jobs] == [
        "5",
        "3",
        "1",
    ]
    epoch = await epoch_of(store, "compositions/3")
    await append(store, "compositions/3", epoch, [], state="RENDERING")
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
    await append(store, "compositions/a", epoch, rows(b"end"), terminal=True)
    await store.delete("compositions/a")
    for attempt in (store.delete("compositions/a"), store.read("compositions/a", 0)):
        with pytest.raises(errors.CompositionNotFound):
            await attempt
    with pytest.raises(errors.JobNotFound):
        await store.read("analyses/a", 0)
    assert (await store.create(job(request_id="r1", spec_digest=b"other"), queue_limit=LIMIT)).is_new


async def test_a_finished_job_expires_after_its_retention(store: Store, clock: Clock) -> None:
    await create(store)
    await append(store, "compositions/a", await epoch_of(store), rows(b"end"), terminal=True)
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
@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_queue_position_is_the_order_of_claims(
    owners: list[str], served: int, ending: set[int], backend: Callable[..., Backend]
) -> None:
    async def run() -> None:
        opened = backend(Clock(), Clock())
        store = await opened()
        for index, owner in enumerate(owners):
            await create(store, f"compositions/{index}", owner)
        for _ in range(served):
            await store.claim("c1", LEASE_S)
        for index in ending & set(range(len(owners))):
            await store.request_cancel(f"compositions/{index}", "user")
        names = [f"compositions/{index}" for index in range(len(owners))]
        promised = {position: name for name, position in (await store.queue_positions(names)).items()}
        order = []
        while (claimed := await store.claim("c1", LEASE_S)) is not None:
            order.append(claimed.name)
        assert [promised[position] for position in sorted(promised)] == order
        assert sorted(promised) == list(range(1, len(order) + 1))
        await opened.close()

    asyncio.run(run())


async def test_positions_are_exact_in_a_long_queue_of_many_owners(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    store = await SqliteStore.open(path)
    await store.create(job("compositions/first"), queue_limit=LIMIT)
    await store.claim("c0", 1e9)
    with contextlib.closing(sqlite3.connect(path)) as cx, cx:
        cx.execute("UPDATE sqlite_sequence SET seq = ?", (2**30 - 150,))  # the ids cross buckets of every size
    names = [f"compositions/{index}" for index in range(400)]
    await asyncio.gather(*(create(store, name, "ann" if index % 7 else "bob") for index, name in enumerate(names)))
    held = [await store.claim("c1", 1e9) for _ in range(60)]
    assert all(held)
    await asyncio.gather(*(store.release(each.name, each.epoch) for each in held[10:40] if each))
    await asyncio.gather(*(store.request_cancel(name, "user") for name in names[100:300:3]))
    for each in held[:10]:
        assert each
        await append(store, each.name, each.epoch, rows(b"end"), terminal=True)
    await asyncio.gather(*(create(store, f"compositions/cy{index}", "cy") for index in range(3)))
    names += [f"compositions/cy{index}" for index in range(3)]
    positions = await store.queue_positions(names)
    assert sum(depth.waiting for depth in (await store.depths()).values()) == len(positions) == 373
    order = []
    while (claimed := await store.claim("c2", 1e9)) is not None:
        order.append(claimed.name)
    assert order == sorted(positions, key=lambda name: positions[name])
    assert sorted(positions.values()) == list(range(1, len(order) + 1))
    await store.close()
    with contextlib.closing(sqlite3.connect(path)) as cx:
        assert cx.execute("SELECT count(*) FROM queue_counts").fetchone() == (0,)


async def test_claims_and_positions_cost_no_more_in_a_long_queue(tmp_path: Path) -> None:
    """Counted in steps of SQLite's machine, which do not depend on the computer."""
    path = tmp_path / "segue.db"
    store = await SqliteStore.open(path)
    await create(store, "compositions/0")
    await store.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as cx:
        cx.row_factory = sqlite3.Row
        of_few = costs_of_queue(cx, 128)
        of_many = costs_of_queue(cx, 8192)
    assert all(many < 4 * few for few, many in zip(of_few, of_many, strict=True)), (of_few, of_many)


def costs_of_queue(cx: sqlite3.Connection, num_waiting: int) -> tuple[int, int]:
    """Fill the queue; return the steps for the position of its last job, and for the next claim."""
    fill_queue(cx, num_waiting)
    last = [f"compositions/{num_waiting - 1}"]
    assert list(queue_order.positions(cx, last).values()) == [num_waiting]
    return (
        num_steps(cx, lambda: queue_order.positions(cx, last)),
        num_steps(cx, lambda: queue_order.next_job(cx, 0.0, ())),
    )


def fill_queue(cx: sqlite3.Connection, num_waiting: int) -> None:
    """Copy the first job until so many wait."""
    columns = [row[1] for row in cx.execute("PRAGMA table_info(jobs)") if row[1] not in {"id", "name"}]
    copied = ", ".join(columns)
    have = cx.execute("SELECT count(*) FROM jobs").fetchone()[0]
    cx.execute("BEGIN")
    cx.execute(
        f"WITH RECURSIVE numbers (n) AS (SELECT ? UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ?) "  # noqa: S608
        f"INSERT INTO jobs (name, {copied}) SELECT 'compositions/' || n, {copied} FROM numbers, jobs "
        "WHERE name = 'compositions/0'",
        (have, num_waiting),
    )
    cx.execute("COMMIT")


def num_steps(cx: sqlite3.Connection, work: Callable[[], object]) -> int:
    """Count the instructions of SQLite's machine."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    cx.set_progress_handler(step, 1)
    try:
        work()
    finally:
        cx.set_progress_handler(None, 0)
    return count


async def test_a_conductor_claims_only_its_kinds(store: Store) -> None:
    await create(store, "analyses/1", kind="analysis")
    assert await store.claim("c1", LEASE_S, ["composition", "master"]) is None
    claimed = await store.claim("c1", LEASE_S, ["composition", "analysis"])
    assert claimed is not None
    assert claimed.kind == "analysis"


async def test_an_expired_lease_is_claimed_by_another_and_fences_the_first(store: Store, steady: Clock) -> None:
    await create(store)
    first = await epoch_of(store)
    assert await store.claim("c2", LEASE_S) is None
    steady.now += LEASE_S - 1
    await store.renew("compositions/a", first, LEASE_S)
    steady.now += LEASE_S - 1
    assert await store.claim("c2", LEASE_S) is None
    steady.now += 2
    second = await store.claim("c2", LEASE_S)
    assert second is not None
    assert (second.epoch, second.claims, second.claimed_by) == (first + 1, 2, "c2")
    for attempt in (
        append(store, "compositions/a", first, rows(b"stale")),
        store.renew("compositions/a", first, LEASE_S),
        store.release("compositions/a", first),
    ):
        with pytest.raises(Fenced):
            await attempt
    assert await payloads(store) == []


async def test_claims_count_tries_without_progress(store: Store, steady: Clock) -> None:
    await create(store)
    for count in (1, 2, 3):
        claimed = await store.claim("c1", LEASE_S)
        assert claimed is not None
        assert claimed.claims == count
        steady.now += LEASE_S + 1
    assert claimed is not None
    await append(store, "compositions/a", claimed.epoch, rows(b"1"), checkpoint=b"section 1")
    claimed = await store.claim("c1", LEASE_S)
    assert claimed is not None
    assert (claimed.claims, claimed.checkpoint) == (1, b"section 1")
    await store.release("compositions/a", claimed.epoch)
    released = await store.get("compositions/a")
    assert released is not None
    assert (released.claims, released.is_waiting) == (0, True)


async def test_a_loss_counts_against_a_job_only_if_its_claim_was_alone(store: Store, steady: Clock) -> None:
    await create(store)
    name, found = "compositions/a", []
    for is_alone, ends in ((True, "lost"), (False, "lost"), (True, "released"), (True, "lost"), (True, "progress")):
        claimed = await store.claim("c1", LEASE_S)
        assert claimed is not None
        found.append((claimed.lone_losses, claimed.alone))
        if is_alone:
            await store.set_alone(name, claimed.epoch)
        if ends == "released":
            await store.release(name, claimed.epoch)
        elif ends == "progress":
            await append(store, name, claimed.epoch, rows(b"1"), checkpoint=b"section 1")
        steady.now += LEASE_S + 1
    claimed = await store.claim("c1", LEASE_S)
    assert claimed is not None
    found.append((claimed.lone_losses, claimed.alone))
    assert found == [(0, False), (1, False), (1, False), (1, False), (2, False), (0, False)]
    with pytest.raises(Fenced):
        await store.set_alone(name, claimed.epoch - 1)


async def test_the_time_of_a_jobs_conductors_is_counted_to_the_last_renewal(store: Store, steady: Clock) -> None:
    await create(store)
    name, epoch = "compositions/a", await epoch_of(store)
    for step_s in (3, 4, 1000 * LEASE_S):  # the last time the process was stopped, and its lease not yet claimed
        steady.now += step_s
        await store.renew(name, epoch, LEASE_S)
    steady.now += LEASE_S + 1
    claimed = await store.claim("c2", LEASE_S)
    assert claimed is not None
    assert claimed.worked_s == pytest.approx(7 + LEASE_S)
    steady.now += 2
    await store.release(name, claimed.epoch)
    steady.now += 500
    claimed = await store.claim("c2", LEASE_S)
    assert claimed is not None
    assert claimed.worked_s == pytest.approx(9 + LEASE_S)


async def test_cancel_reaches_a_running_job_by_renewal_and_by_waiting(opens: Opens) -> None:
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
    await append(store, "compositions/a", epoch, rows(b"end"), state="CANCELLED", terminal=True)
    assert (await store.request_cancel("compositions/a", "again")).state == "CANCELLED"
    with pytest.raises(errors.CompositionNotFound):
        await store.request_cancel("compositions/none", "user")


async def test_a_cancelled_waiting_job_is_claimed_first(store: Store) -> None:
    for name in "abc":
        await create(store, f"compositions/{name}")
    await store.request_cancel("compositions/c", "user")
    assert await store.queue_positions(["compositions/a", "compositions/c"]) == {
        "compositions/c": 1,
        "compositions/a": 2,
    }
    claimed = await store.claim("c1", LEASE_S)
    assert claimed is not None
    assert (claimed.name, claimed.cancel_reason) == ("compositions/c", "user")
    following = await store.claim("c1", LEASE_S)
    assert following is not None
    assert following.name == "compositions/a"


async def test_the_latest_attachment_counts(store: Store, clock: Clock, steady: Clock) -> None:
    await create(store)
    epoch = await epoch_of(store)
    assert not (await store.renew("compositions/a", epoch, LEASE_S)).is_abandoned
    for for_s in (50.0, 70.0, 60.0):
        await store.attach("compositions/a", for_s)
    clock.now += 3600
    assert not await abandoned_after(69, store, epoch, steady)
    clock.now -= 7200
    assert await abandoned_after(2, store, epoch, steady)


async def abandoned_after(passed_s: float, store: Store, epoch: int, steady: Clock) -> bool:
    """Let time pass, in which a conductor renews its lease; return whether its job is abandoned."""
    while passed_s:
        step_s = min(passed_s, LEASE_S / 2)
        steady.now += step_s
        passed_s -= step_s
        renewal = await store.renew("compositions/a", epoch, LEASE_S)
    return renewal.is_abandoned


@pytest.mark.parametrize("is_taken_over", [False, True])
async def test_callers_are_not_gone_when_the_store_comes_back(
    store: Store, steady: Clock, *, is_taken_over: bool
) -> None:
    """They cannot attach while it does not answer."""
    await create(store, attached_s=15.0)
    epoch = await epoch_of(store)
    steady.now += LEASE_S + 60
    if is_taken_over:
        claimed = await store.claim("c2", LEASE_S)
        assert claimed is not None
        epoch = claimed.epoch
    assert not (await store.renew("compositions/a", epoch, LEASE_S)).is_abandoned
    assert not await abandoned_after(14, store, epoch, steady)
    assert await abandoned_after(2, store, epoch, steady)


@pytest.mark.parametrize("jump_s", [3600, -3600])
async def test_a_wall_clock_that_jumps_changes_no_lease(store: Store, clock: Clock, steady: Clock, jump_s: int) -> None:
    await create(store)
    epoch = await epoch_of(store)
    clock.now += jump_s
    assert await store.claim("c2", LEASE_S) is None
    assert await store.claim_one("compositions/a", "c2", LEASE_S) is None
    await store.renew("compositions/a", epoch, LEASE_S)
    clock.now -= jump_s
    steady.now += LEASE_S + 1
    claimed = await store.claim("c2", LEASE_S)
    assert claimed is not None
    assert claimed.epoch == epoch + 1


async def test_a_lease_from_before_the_machine_started_is_over(store: Store, steady: Clock) -> None:
    """The steady clock begins again, so that the lease seems to end in a far future."""
    await create(store, attached_s=15.0)
    await epoch_of(store)
    steady.now = 100.0
    claimed = await store.claim("c2", LEASE_S)
    assert claimed is not None
    assert not (await store.renew("compositions/a", claimed.epoch, LEASE_S)).is_abandoned
    assert await abandoned_after(16, store, claimed.epoch, steady)


async def test_a_certain_job_is_claimed_if_nobody_holds_it(store: Store, steady: Clock) -> None:
    await create(store)
    await create(store, "compositions/b")
    claimed = await store.claim_one("compositions/b", "gateway", LEASE_S)
    assert claimed is not None
    assert (claimed.name, claimed.claimed_by) == ("compositions/b", "gateway")
    assert await store.claim_one("compositions/b", "other", LEASE_S) is None
    steady.now += LEASE_S + 1
    assert await store.claim_one("compositions/b", "other", LEASE_S) is not None
    assert await store.claim_one("compositions/none", "other", LEASE_S) is None


async def test_waiting_for_a_job_ends_with_any_process_job_or_an_expired_lease(opens: Opens, steady: Clock) -> None:
    conductor, gateway = await opens(), await opens()
    assert not await conductor.wait_for_job(0.1)
    waiting = asyncio.create_task(conductor.wait_for_job(30, ["composition"]))
    await asyncio.sleep(0.05)
    await create(gateway, "analyses/1", kind="analysis")
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await create(gateway)
    assert await waiting
    assert await conductor.claim("c1", LEASE_S, ["composition"])
    waiting = asyncio.create_task(conductor.wait_for_job(30, ["composition"]))
    await asyncio.sleep(0.05)
    steady.now += LEASE_S + 1
    assert await waiting
