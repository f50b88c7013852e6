"""The contract of every store: what owners have used is counted once, with what it counts."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.runtime.store_rows import LEASE_S, Clock, append, create, epoch_of, rows

from segue_runtime import errors
from segue_runtime.accounting.traffic import Traffic
from segue_runtime.store import DayUsage, Delivered, Fenced, LogEnded, Store, Upload, UploadPart
from segue_runtime.store.owners.records import KEPT_DAYS, UsagePlace
from segue_runtime.store.pool.records import LeaseEnd, ModelKey, OfferedModel, RendererOffer, WaitingSection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.runtime.redis_server import RedisServer
    from tests.runtime.store_backends import Backend
    from tests.runtime.store_rows import Opens

    from segue_runtime.store.redis import RedisStore

NAME = "compositions/a"
DAY_S = 86400
TODAY = dt.date(1970, 1, 12)
"""The day of the tests' clock."""
SHORT = ModelKey("short", "", "1")
LONG = ModelKey("long", "d1", "2")


async def used(store: Store, owner: str = "ann", day: dt.date = TODAY) -> DayUsage:
    """Return what an owner has used on a day."""
    found = (await store.usage(owner, day, day)).days
    assert len(found) <= 1
    return found[0] if found else DayUsage(day, owner)


async def end(store: Store, name: str, audio_s: float, stored_bytes: int, epoch: int = 0) -> None:
    delivered = Delivered(audio_s, stored_bytes)
    await append(store, name, epoch or await epoch_of(store, name), rows(b"end"), terminal=True, delivered=delivered)


# Jobs


async def test_what_a_job_delivers_is_counted_once_on_the_day_of_its_end(store: Store, clock: Clock) -> None:
    await create(store)
    epoch = await epoch_of(store)
    await append(store, NAME, epoch, rows(b"1"))
    assert await used(store) == DayUsage(TODAY, "ann")
    with pytest.raises(Fenced):
        await end(store, NAME, 7, 7, epoch=epoch + 1)
    clock.now += DAY_S
    await end(store, NAME, 30.5, 1000, epoch=epoch)
    with pytest.raises(LogEnded):
        await end(store, NAME, 7, 7, epoch=epoch)
    await create(store, "compositions/b", "bob")
    await end(store, "compositions/b", 2, 3)
    tomorrow = TODAY + dt.timedelta(days=1)
    assert await used(store, day=tomorrow) == DayUsage(tomorrow, "ann", audio_s=30.5, stored_bytes=1000)
    assert await used(store) == DayUsage(TODAY, "ann")
    assert [await store.audio_seconds_today(owner) for owner in ("ann", "bob", "eve")] == [30.5, 2, 0]
    clock.now += DAY_S
    assert await store.audio_seconds_today("ann") == 0


async def test_stored_bytes_are_those_of_ended_jobs_and_uploads(opens: Opens) -> None:
    store = await opens()
    for index in range(3):
        await create(store, f"compositions/{index}")
        await end(store, f"compositions/{index}", 1, 100)
    await create(store, "compositions/bobs", "bob")
    await end(store, "compositions/bobs", 1, 5)
    await store.create_upload(Upload("uploads/u", "ann", "audio/flac", size=30), quota_bytes=100, max_uploads=9)
    for offset in (0, 10):
        await store.advance_upload("uploads/u", UploadPart(offset, 10, f"k{offset}"), quota_bytes=100)
    with pytest.raises(errors.OffsetOutOfRange):
        await store.advance_upload("uploads/u", UploadPart(0, 10, "again"), quota_bytes=100)
    assert [await store.stored_bytes(owner) for owner in ("ann", "bob", "eve")] == [320, 5, 0]
    await store.delete("compositions/1")
    await store.discard_upload("uploads/u")
    assert [await store.stored_bytes(owner) for owner in ("ann", "bob")] == [200, 5]
    for name in ("compositions/0", "compositions/2"):
        await store.delete(name)
    assert await (await opens()).stored_bytes("ann") == 0
    # What was stored on a day stays counted when it is deleted.
    assert (await used(store)).stored_bytes == 320


# Leases of sections


async def claimed(store: Store, name: str = NAME) -> int:
    found = await store.claim_one(name, "c", LEASE_S)
    assert found is not None
    return found.epoch


async def enter(store: Store, epoch: int, key: ModelKey = SHORT, name: str = NAME) -> int:
    return await store.pool.enter_line(WaitingSection(name, epoch, "verse", key, 0, 10))


async def open_pool(store: Store) -> None:
    models = [OfferedModel(key, 4, b"profile") for key in (SHORT, LONG)]
    await store.pool.offer(RendererOffer("r1", "r1:1", 8, models), 60)


@pytest.mark.parametrize("how", [LeaseEnd.DONE, LeaseEnd.RELEASED, LeaseEnd.LOST])
async def test_a_lease_is_counted_once_when_it_ends(store: Store, steady: Clock, how: LeaseEnd) -> None:
    await open_pool(store)
    await create(store)
    epoch = await claimed(store)
    short, long = await enter(store, epoch), await enter(store, epoch, LONG)
    steady.now += 2
    await store.pool.leave_line(short, how)
    await store.pool.leave_line(short, how)
    assert (await used(store)).rendered_s == {"short": 2}
    steady.now += 3
    await store.pool.leave_line(long, how)
    assert (await used(store)).rendered_s == {"short": 2, "long": 5}
    await end(store, NAME, 1, 1, epoch=epoch)
    assert (await used(store)).rendered_s == {"short": 2, "long": 5}


async def test_a_section_that_only_waits_is_not_counted(store: Store, steady: Clock) -> None:
    await create(store)
    ticket = await enter(store, await claimed(store))
    steady.now += 2
    await store.pool.leave_line(ticket, LeaseEnd.RELEASED)
    assert (await used(store)).rendered_s == {}


@pytest.mark.parametrize("ends", ["release", "end"])
async def test_a_lease_ends_with_its_claim(store: Store, steady: Clock, ends: str) -> None:
    await open_pool(store)
    await create(store)
    epoch = await claimed(store)
    ticket = await enter(store, epoch)
    steady.now += 4
    await (store.release(NAME, epoch) if ends == "release" else end(store, NAME, 1, 1, epoch=epoch))
    await store.pool.leave_line(ticket, LeaseEnd.DONE)
    assert (await used(store)).rendered_s == {"short": 4}


async def test_a_killed_conductors_lease_is_counted_to_the_end_of_its_claim(store: Store, steady: Clock) -> None:
    await open_pool(store)
    await create(store)
    lost = await claimed(store)
    ticket = await enter(store, lost)
    steady.now += 3
    await store.renew(NAME, lost, LEASE_S)
    steady.now += 1000
    epoch = await claimed(store)
    with pytest.raises(Fenced):
        await end(store, NAME, 1, 1, epoch=lost)
    assert (await used(store)).rendered_s == {"short": 3 + LEASE_S}
    await store.pool.leave_line(ticket, LeaseEnd.DONE)  # the killed one was only slow
    await open_pool(store)
    ticket = await enter(store, epoch)
    steady.now += 1
    await store.pool.leave_line(ticket, LeaseEnd.DONE)
    await end(store, NAME, 20, 1, epoch=epoch)
    found = await used(store)
    assert (found.rendered_s, found.audio_s) == ({"short": 4 + LEASE_S}, 20)


async def test_a_lease_from_before_the_machine_started_is_bounded(store: Store, steady: Clock) -> None:
    await open_pool(store)
    await create(store)
    await enter(store, await claimed(store))
    steady.now = 100.0
    await claimed(store)
    assert (await used(store)).rendered_s == {"short": LEASE_S}


class Leases:
    """One piece's leases in the store, and the time that they should have taken."""

    def __init__(self, store: Store, steady: Clock) -> None:
        self._store, self._steady = store, steady
        self._epoch = 0
        self._held_until = 0.0
        self._since: dict[int, float] = {}
        self._gone: list[int] = []
        self.total_s = 0.0

    async def claim(self) -> None:
        self._epoch, self._held_until = await claimed(self._store), self._steady.now + LEASE_S

    @property
    def is_held(self) -> bool:
        return self._steady.now <= self._held_until

    async def enter(self, _number: int) -> None:
        if self.is_held:
            self._since[await enter(self._store, self._epoch)] = self._steady.now

    async def leave(self, number: int) -> None:
        if self._since:
            ticket = sorted(self._since)[number % len(self._since)]
            await self._store.pool.leave_line(ticket, LeaseEnd(number % 2))
            self._count(ticket)

    async def leave_late(self, number: int) -> None:
        """Leave as a conductor that does not know that its claim is over."""
        if self._gone:
            await self._store.pool.leave_line(self._gone[number % len(self._gone)], LeaseEnd.DONE)

    async def renew(self, _number: int) -> None:
        if self.is_held:
            await self._store.renew(NAME, self._epoch, LEASE_S)
            self._held_until = self._steady.now + LEASE_S

    async def release(self, _number: int) -> None:
        if self.is_held:
            await self._store.release(NAME, self._epoch)
            await self._claim_again()

    async def lose(self, _number: int) -> None:
        self._steady.now = self._held_until + 5
        await self._claim_again()

    async def wait(self, number: int) -> None:
        self._steady.now += number

    async def _claim_again(self) -> None:
        for ticket in list(self._since):
            self._count(ticket)
        await self.claim()

    def _count(self, ticket: int) -> None:
        self.total_s += min(self._steady.now, self._held_until) - self._since.pop(ticket)
        self._gone.append(ticket)


STEPS = ("enter", "leave", "leave_late", "renew", "release", "lose", "wait")


@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 2)), max_size=25))
@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_renderers_time_is_the_time_of_leases_in_every_history(
    steps: list[tuple[str, int]], backend: Callable[..., Backend]
) -> None:
    async def run() -> None:
        steady = Clock(5000.0)
        opened = backend(Clock(), steady)
        store = await opened()
        await create(store)
        leases = Leases(store, steady)
        await leases.claim()
        for step, number in steps:
            steady.now += 0.5
            await store.pool.offer(RendererOffer("r1", "r1:1", 99, [OfferedModel(SHORT, 99, b"p")]), 60)
            await getattr(leases, step)(number)
        await end(store, NAME, 0, 0, epoch=await claimed_after_all(store, leases))
        found = (await used(store)).rendered_s
        assert found.get("short", 0) == pytest.approx(leases.total_s)
        await opened.close()

    asyncio.run(run())


async def claimed_after_all(store: Store, leases: Leases) -> int:
    await leases.lose(0)
    found = await store.get(NAME)
    assert found is not None
    return found.epoch


# Traffic, and reading


async def test_the_traffic_of_several_processes_is_summed(opens: Opens, clock: Clock) -> None:
    one, two = await opens(), await opens()
    await asyncio.gather(
        *(each.add_traffic({"ann": Traffic(2, 1 << 40), "bob": Traffic(1)}) for each in (one, two, one)),
    )
    clock.now += DAY_S
    await two.add_traffic({"ann": Traffic(sent_bytes=5)})
    assert await used(one) == DayUsage(TODAY, "ann", requests=6, sent_bytes=3 << 40)
    assert await used(one, "bob") == DayUsage(TODAY, "bob", requests=3)
    tomorrow = TODAY + dt.timedelta(days=1)
    assert await used(one, day=tomorrow) == DayUsage(tomorrow, "ann", sent_bytes=5)


@pytest.mark.parametrize("owner", [None, "ann", "b:0"])
async def test_usage_is_listed_by_day_and_owner_in_pages(store: Store, clock: Clock, owner: str | None) -> None:
    owners = ["ann", "b", "b:0", "zoë"]
    for _ in range(4):
        for each in reversed(owners):
            await store.add_traffic({each: Traffic(1, 2)})
        clock.now += DAY_S
    first, last = TODAY + dt.timedelta(days=1), TODAY + dt.timedelta(days=2)
    wanted = [(day, each) for day in (first, last) for each in owners if owner in {None, each}]
    for limit in (1, 3, 100):
        found: list[DayUsage] = []
        after: UsagePlace | None = None
        while True:
            page = await store.usage(owner, first, last, limit=limit, after=after)
            found += page.days
            assert len(page.days) <= limit
            after = page.after
            if after is None:
                break
        assert [each.place for each in found] == wanted
        assert all((each.requests, each.sent_bytes) == (1, 2) for each in found)


async def test_usage_is_forgotten_after_its_time(tmp_path: Path, clock: Clock) -> None:
    from segue_runtime.clocks import Clocks
    from segue_runtime.store import SqliteStore

    store = await SqliteStore.open(tmp_path / "segue.db", clocks=Clocks(clock, clock))
    for _ in range(KEPT_DAYS + 3):
        await store.add_traffic({"ann": Traffic(1)})
        clock.now += DAY_S
    await store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "segue.db")) as cx:
        assert cx.execute("SELECT count(DISTINCT day) FROM usage").fetchone() == (KEPT_DAYS,)


@pytest.mark.reference("redis-server")
async def test_usage_in_redis_has_an_end(redis_server: RedisServer) -> None:
    store = await opened_redis(redis_server)
    await store.add_traffic({"ann": Traffic(1)})
    await store.close()
    with redis_server.client() as client:
        kept: Sequence[int] = [int(str(client.ttl(key))) for key in client.scan_iter("segue:usage:*")]
    assert len(kept) == 2
    assert all((KEPT_DAYS - 1) * DAY_S < seconds <= KEPT_DAYS * DAY_S for seconds in kept)


@pytest.mark.reference("redis-server")
async def test_a_repair_counts_the_stored_bytes_again(redis_server: RedisServer) -> None:
    store = await opened_redis(redis_server)
    for index in range(2):
        await create(store, f"compositions/{index}")
        await end(store, f"compositions/{index}", 1, 100)
    with redis_server.client() as client:
        client.hset("segue:stored", "ann", 7)
    await store.repair()
    assert await store.stored_bytes("ann") == 200
    await store.close()


async def opened_redis(server: RedisServer) -> RedisStore:
    from segue_runtime.store.redis import RedisStore

    server.replace({})
    return await RedisStore.open(server.url)
