"""The renderer pool in the store: who is present, what is remembered, and who gets a slot next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.runtime.store_rows import LEASE_S, create

from segue_runtime.store import Share
from segue_runtime.store.pool.records import LeaseEnd, ModelKey, OfferedModel, RendererOffer, WaitingSection, Warmth

if TYPE_CHECKING:
    from tests.runtime.store_rows import Clock, Opens

    from segue_runtime.store import Store

BAND = ModelKey("band", "", "1")
GEN = ModelKey("gen", "d1", "1")


async def offer(store: Store, renderer: str, *models: OfferedModel, slots: int = 0, accepts: bool = True) -> None:
    offered = models or (OfferedModel(BAND, max(1, slots), b"profile"),)
    total = slots or sum(each.slots for each in offered)
    await store.pool.offer(RendererOffer(renderer, f"{renderer}:1", total, offered, accepts=accepts), 20)


class Line:
    """Puts sections of pieces into the line."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._epochs: dict[str, int] = {}

    async def enter(
        self, piece: str, *, owner: str = "ann", key: ModelKey = BAND, due: float = 0, audio_s: float = 10,
        excluded: frozenset[str] = frozenset(), weight: int = 1,
    ) -> int:  # fmt: skip
        name = f"compositions/{piece}"
        if name not in self._epochs:
            await create(self._store, name, owner, share=Share(weight=weight))
            claimed = await self._store.claim_one(name, "c", LEASE_S)
            assert claimed is not None
            self._epochs[name] = claimed.epoch
        section = WaitingSection(name, self._epochs[name], "verse", key, due, audio_s, excluded)
        return await self._store.pool.enter_line(section)

    async def renderer(self, ticket: int) -> str:
        """Return who renders a section; empty while it waits."""
        lease = await self._store.pool.wait_for_lease(ticket, 0)
        return "" if lease is None else lease.renderer

    async def leave(self, ticket: int, end: LeaseEnd = LeaseEnd.DONE, speed: float = 0.0) -> None:
        await self._store.pool.leave_line(ticket, end, speed)


async def positions(store: Store) -> dict[int, int]:
    return {ticket: place.position for ticket, place in (await store.pool.places()).items()}


async def test_owners_take_turns_and_near_sections_come_first(store: Store) -> None:
    line = Line(store)
    tickets = [await line.enter("long", owner="ann", due=due) for due in (300, 100, 200)]
    tickets.append(await line.enter("short", owner="ann", due=0))
    tickets += [await line.enter("other", owner="bob", due=due) for due in (500, 600)]
    places = await positions(store)
    await offer(store, "r1", slots=1)
    served: list[int] = []
    while tickets:
        (running,) = [ticket for ticket in tickets if await line.renderer(ticket)]
        served.append(running)
        tickets.remove(running)
        await line.leave(running)
    # Ann is served first and then Bob, in turn; of Ann's sections the near one comes first.
    assert served == [4, 5, 2, 6, 3, 1]
    assert sorted(places, key=lambda ticket: places[ticket]) == served


async def test_one_slot_is_given_by_weight(store: Store) -> None:
    line = Line(store)
    owners = {await line.enter("a", owner="ann", weight=3): "ann" for _ in range(9)}
    owners |= {await line.enter("b", owner="bob"): "bob" for _ in range(3)}
    places = await positions(store)
    await offer(store, "r1", slots=1)
    served: list[int] = []
    while len(served) < len(owners):
        (running,) = [ticket for ticket in owners if ticket not in served and await line.renderer(ticket)]
        served.append(running)
        await line.leave(running)
    order = [owners[ticket] for ticket in served]
    assert all(order[start : start + 4].count("ann") == 3 for start in (0, 4, 8))
    assert sorted(places, key=lambda ticket: places[ticket]) == served


async def test_many_slots_are_shared_by_weight(store: Store) -> None:
    line = Line(store)
    owners = {await line.enter("a", owner="ann", weight=3): "ann" for _ in range(9)}
    owners |= {await line.enter("b", owner="bob"): "bob" for _ in range(9)}
    await offer(store, "r1", slots=8)
    leased = [owner for ticket, owner in owners.items() if await line.renderer(ticket)]
    assert (leased.count("ann"), leased.count("bob")) == (6, 2)


async def test_a_waiter_in_another_process_is_woken(opens: Opens) -> None:
    one, two = await opens(), await opens()
    ticket = await Line(one).enter("a")
    waiting = asyncio.create_task(one.pool.wait_for_lease(ticket, 60))
    await asyncio.sleep(0.05)
    await offer(two, "r1")
    async with asyncio.timeout(30):
        lease = await waiting
    assert lease is not None
    assert (lease.renderer, lease.address, lease.was_warm) == ("r1", "r1:1", True)


async def test_a_killed_conductor_loses_its_leases_and_its_places(store: Store, steady: Clock) -> None:
    await offer(store, "r1", slots=1)
    dead, alive = Line(store), Line(store)
    assert await dead.renderer(await dead.enter("dead")) == "r1"
    await dead.enter("dead")
    steady.now += LEASE_S / 2
    ticket = await alive.enter("alive")
    assert await positions(store) == {2: 1, ticket: 2} or await positions(store) == {2: 2, ticket: 1}
    steady.now += LEASE_S / 2 + 2  # its lease is over, that of the other piece is not
    await store.pool.assign()
    assert await alive.renderer(ticket) == "r1"
    assert await positions(store) == {}


async def test_a_warm_model_is_preferred_until_waiting_takes_longer_than_loading(store: Store) -> None:
    line = Line(store)
    await offer(store, "cold", OfferedModel(GEN, 4, warmth=Warmth.COLD, load_s=25, speed=1))
    await offer(store, "warm", OfferedModel(GEN, 1, speed=1))
    tickets = [await line.enter("a", key=GEN, due=due, audio_s=10) for due in range(4)]
    # The first has the warm slot. 5 s, 15 s and 25 s of work are before the next ones.
    assert [await line.renderer(ticket) for ticket in tickets] == ["warm", "", "", ""]
    last = [await line.enter("a", key=GEN, due=9, audio_s=10) for _ in range(2)]
    # 35 s of work: the loading pays. The model is loaded once, for all that fit.
    assert [await line.renderer(ticket) for ticket in last] == ["cold", ""] or await line.renderer(last[0]) == "cold"
    lease = await store.pool.wait_for_lease(last[0], 0)
    assert lease is not None
    assert not lease.was_warm


async def test_a_cold_model_is_loaded_if_it_is_warm_nowhere(store: Store) -> None:
    await offer(store, "cold", OfferedModel(GEN, 1, warmth=Warmth.COLD))
    line = Line(store)
    assert await line.renderer(await line.enter("a", key=GEN)) == "cold"


async def test_the_emptier_and_then_the_faster_renderer_is_chosen(store: Store) -> None:
    line = Line(store)
    await offer(store, "slow", OfferedModel(BAND, 2, speed=1))
    await line.leave(await line.enter("a"), speed=1.0)
    await offer(store, "fast", OfferedModel(BAND, 2, speed=1))
    await store.pool.withdraw("slow")
    await line.leave(await line.enter("a"), speed=9.0)
    await offer(store, "slow", OfferedModel(BAND, 2, speed=1))
    chosen = [await line.renderer(await line.enter("a")) for _ in range(5)]
    assert chosen == ["fast", "slow", "fast", "slow", ""]


async def test_models_of_a_renderer_share_its_slots(store: Store) -> None:
    await offer(store, "r1", OfferedModel(BAND, 2), OfferedModel(GEN, 2), slots=2)
    line = Line(store)
    keys = (BAND, GEN, BAND, GEN)
    assert [await line.renderer(await line.enter("a", key=key)) for key in keys] == ["r1", "r1", "", ""]
    # Each model has a line of its own.
    assert await positions(store) == {3: 1, 4: 1}


async def test_a_renderer_that_failed_a_section_is_used_for_it_only_if_there_is_no_other(store: Store) -> None:
    line = Line(store)
    await offer(store, "r1", slots=2)
    assert await line.renderer(await line.enter("a", excluded=frozenset({"r1"}))) == "r1"
    await offer(store, "r2", slots=1)
    assert await line.renderer(await line.enter("a", excluded=frozenset({"r1"}))) == "r2"
    # The other one is full: the section waits for it.
    assert await line.renderer(await line.enter("a", excluded=frozenset({"r1"}))) == ""


async def test_a_renderer_that_drains_gets_no_sections(store: Store) -> None:
    await offer(store, "r1", accepts=False)
    line = Line(store)
    assert await line.renderer(await line.enter("a")) == ""
    (model,) = await store.pool.models()
    assert model.is_served
    assert not (await store.pool.places())[1].is_served


async def test_a_lost_renderer_is_absent_until_it_answers_and_rests_after_three_losses(
    store: Store, steady: Clock
) -> None:
    line = Line(store)
    for _ in range(3):
        await offer(store, "r1")
        ticket = await line.enter("a")
        assert await line.renderer(ticket) == "r1"
        await line.leave(ticket, LeaseEnd.LOST)
        assert await store.pool.renderers() == []
    await offer(store, "r1")
    ticket = await line.enter("a")
    assert await line.renderer(ticket) == ""
    steady.now += 3
    await store.pool.assign()
    assert await line.renderer(ticket) == "r1"
    await line.leave(ticket, LeaseEnd.DONE)  # a success ends the series
    ticket = await line.enter("a")
    await line.leave(ticket, LeaseEnd.LOST)
    await offer(store, "r1")
    assert await line.renderer(await line.enter("a")) == "r1"


async def test_a_full_renderer_gets_no_sections_for_a_moment(store: Store, steady: Clock) -> None:
    line = Line(store)
    await offer(store, "r1")
    await line.leave(await line.enter("a"), LeaseEnd.FULL)
    ticket = await line.enter("a")
    assert await line.renderer(ticket) == ""
    steady.now += 1.5
    await store.pool.assign()
    assert await line.renderer(ticket) == "r1"


async def test_models_and_their_median_speeds_are_remembered(store: Store, clock: Clock, steady: Clock) -> None:
    line = Line(store)
    await offer(store, "r1", OfferedModel(BAND, 1, b"old"))
    await offer(store, "r2", OfferedModel(GEN, 1, b"gen"))
    for speed in (1.0, 50.0, 3.0, *(2.0,) * 64):
        await line.leave(await line.enter("a"), speed=speed)
    await offer(store, "r1", OfferedModel(BAND, 1, b"new"))
    steady.now += 30  # nobody answers any more
    band, gen = await store.pool.models()
    assert (band.key, band.profile, band.is_served, band.speed) == (BAND, b"new", False, 2.0)
    assert (gen.key, gen.profile, gen.speed) == (GEN, b"gen", 0.0)
    clock.now += 90
    await offer(store, "r2", OfferedModel(GEN, 1, b"gen"))
    clock.now += 20  # the band was not seen for longer than the retention time
    await offer(store, "r2", OfferedModel(GEN, 1, b"gen"))
    assert [each.key for each in await store.pool.models()] == [GEN]


@pytest.mark.parametrize(("speed", "expected"), [(0.0, [None, None]), (2.0, [2.5, 7.5])])
async def test_the_expected_wait_is_the_work_before_a_section(
    store: Store, speed: float, expected: list[float | None]
) -> None:
    line = Line(store)
    await offer(store, "r1", OfferedModel(BAND, 1, speed=speed))
    for _ in range(3):
        await line.enter("a")
    places = await store.pool.places()
    assert [places[ticket].wait_s for ticket in sorted(places)] == expected


async def test_writers_in_two_processes_give_each_slot_once_and_leave_none_free(opens: Opens) -> None:
    stores = [await opens(), await opens()]
    lines = [Line(each) for each in stores]
    waiting = {await line.enter(f"piece{number}") for number, line in enumerate(lines)}
    waiting.update(await asyncio.gather(*(lines[n % 2].enter(f"piece{n % 2}", due=n) for n in range(8))))
    await asyncio.gather(*(offer(each, f"r{number}", slots=2) for number, each in enumerate(stores)))
    num_later = 16
    while waiting:
        leased = [ticket for ticket in waiting if await lines[0].renderer(ticket)]
        assert len(leased) == min(4, len(waiting))
        # Nearer ones come while slots become free: whoever has not seen that would give the same slot to another one.
        later = (
            [lines[n % 2].enter(f"piece{n % 2}", due=-1 - n) for n in range(num_later - 4, num_later)]
            if num_later
            else []
        )
        num_later -= len(later)
        ended = [lines[n % 2].leave(ticket) for n, ticket in enumerate(leased)]
        entered = await asyncio.gather(*later, *ended)
        waiting = (waiting - set(leased)) | {ticket for ticket in entered if ticket is not None}
