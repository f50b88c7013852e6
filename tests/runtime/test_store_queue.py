"""The contract of every store: priorities of priority, weighted turns of owners, and limits of an owner."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.runtime.store_rows import LEASE_S, LIMIT, Clock, append, create, job, rows

from segue_runtime import errors
from segue_runtime.store import Delivered, Share, Upload, UploadPart
from segue_runtime.tenants import Priority

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runtime.store_backends import Backend

    from segue_runtime.store import Job, Store

DAY_S = 86_400
FEW = hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


async def end(store: Store, claimed: Job) -> None:
    await append(store, claimed.name, claimed.epoch, rows(b"end"), terminal=True)


async def claims(store: Store, most: int = LIMIT) -> list[str]:
    """Claim until nothing can be claimed; return the names without their collection."""
    order: list[str] = []
    while len(order) < most and (claimed := await store.claim("c1", LEASE_S)) is not None:
        order.append(claimed.name.removeprefix("compositions/"))
    return order


async def test_a_higher_band_is_served_first_and_each_band_has_turns_of_its_own(store: Store) -> None:
    for index in range(2):
        for owner, priority in (("ann", Priority.LOW), ("ann", Priority.NORMAL), ("bob", Priority.HIGH)):
            await create(store, f"compositions/{owner}-{priority.name}-{index}", owner, priority=priority)
    await create(store, "compositions/bob-LOW", "bob", priority=Priority.LOW)
    order = ["bob-HIGH-0", "bob-HIGH-1", "ann-NORMAL-0", "ann-NORMAL-1", "ann-LOW-0", "bob-LOW", "ann-LOW-1"]
    assert await claims(store) == order


async def test_weights_of_3_and_1_give_exactly_3_to_1_claims(store: Store) -> None:
    for index in range(12):
        await create(store, f"compositions/ann{index}", "ann", share=Share(weight=3))
        await create(store, f"compositions/bob{index}", "bob")
    order = await claims(store, 16)
    assert Counter(name[:3] for name in order) == {"ann": 12, "bob": 4}
    assert all(
        Counter(name[:3] for name in order[start : start + 4]) == {"ann": 3, "bob": 1} for start in (0, 4, 8, 12)
    )


async def test_a_new_weight_counts_from_the_next_claim(store: Store) -> None:
    for index in range(8):
        await create(store, f"compositions/ann{index}")
        await create(store, f"compositions/bob{index}", "bob")
    assert [name[:3] for name in await claims(store, 4)] == ["ann", "bob", "ann", "bob"]
    await create(store, "compositions/bob8", "bob", share=Share(weight=3))
    assert Counter(name[:3] for name in await claims(store, 8)) == {"ann": 2, "bob": 6}


async def test_an_owner_that_comes_back_has_no_turns_left_from_before(store: Store) -> None:
    await create(store, "compositions/bob0", "bob")
    for index in range(20):
        await create(store, f"compositions/ann{index}")
    assert len(await claims(store, 11)) == 11
    for index in range(1, 9):
        await create(store, f"compositions/bob{index}", "bob")
    # Ann was served ten times since; Bob is next, and then they take turns.
    assert [name[:3] for name in await claims(store, 9)] == ["bob", *["bob", "ann"] * 4]


async def test_a_running_limit_holds_jobs_back_until_one_ends_or_is_cancelled(store: Store) -> None:
    for index in range(4):
        await create(store, f"compositions/ann{index}", share=Share(running=2))
    await create(store, "compositions/bob0", "bob")
    waiting = [f"compositions/{name}" for name in ("ann0", "ann1", "ann2", "ann3", "bob0")]
    places = await store.queue_positions(waiting)
    assert [places[name] for name in waiting] == [1, 3, 4, 5, 2]
    first = await store.claim("c1", LEASE_S)
    assert first is not None
    assert await claims(store) == ["bob0", "ann1"]
    assert await store.queue_positions(waiting) == {"compositions/ann2": 1, "compositions/ann3": 2}
    await end(store, first)
    assert await claims(store) == ["ann2"]
    await store.request_cancel("compositions/ann1", "user")
    assert await claims(store) == ["ann3"]


async def test_a_conductor_does_not_wait_in_vain_for_a_held_job_and_hears_when_it_may_start(store: Store) -> None:
    for index in range(2):
        await create(store, f"compositions/ann{index}", share=Share(running=1))
    first = await store.claim("c1", LEASE_S)
    assert first is not None
    assert not await store.wait_for_job(0.3, ["composition"])
    waiting = asyncio.create_task(store.wait_for_job(20, ["composition"]))
    await asyncio.sleep(0)
    await end(store, first)
    assert await waiting


async def test_a_limit_of_waiting_jobs_is_exact_under_concurrent_requests(store: Store) -> None:
    share = Share(queued=3)
    results = await asyncio.gather(
        *(
            store.create(job(f"compositions/{index}", share=share, request_id=f"r{index}"), queue_limit=LIMIT)
            for index in range(12)
        ),
        return_exceptions=True,
    )
    refused = [each for each in results if isinstance(each, errors.QuotaExceeded)]
    assert len(refused) == 9
    assert {(each.metadata["unit"], each.metadata["limit"]) for each in refused} == {("queued", "3")}
    assert [(quota.subject, quota.metric, quota.limit) for quota in refused[0].quotas] == [("owner:ann", "queued", 3)]
    assert (await store.depths())["composition"].waiting == 3
    # The same request again is answered, and another owner has its own limit.
    known = next(index for index, each in enumerate(results) if not isinstance(each, BaseException))
    again = await store.create(
        job(f"compositions/{known}-again", share=share, request_id=f"r{known}"), queue_limit=LIMIT
    )
    assert not again.is_new
    await create(store, "compositions/bob", "bob", share=share)
    await claims(store, 1)
    await create(store, "compositions/more", share=share)


async def test_a_days_audio_counts_what_is_made_and_what_is_asked_and_begins_again_at_midnight(
    store: Store, clock: Clock
) -> None:
    clock.now = 10 * DAY_S + 80_000
    share = Share(audio_s_a_day=100)
    await create(store, "compositions/a", share=share, audio_ms=60_000)
    with pytest.raises(errors.QuotaExceeded) as caught:
        await create(store, "compositions/b", share=share, audio_ms=50_000)
    assert (caught.value.metadata["unit"], caught.value.metadata["used"]) == ("audio_seconds_a_day", "60")
    assert caught.value.retry_after_s == DAY_S - 80_000
    claimed = await store.claim("c1", LEASE_S)
    assert claimed is not None
    # It is shorter than asked: the rest is free again.
    await append(
        store, claimed.name, claimed.epoch, rows(b"end"), terminal=True, delivered=Delivered(audio_s=50, stored_bytes=1)
    )
    await create(store, "compositions/b", share=share, audio_ms=50_000)
    with pytest.raises(errors.QuotaExceeded):
        await create(store, "compositions/c", share=share, audio_ms=1)
    await create(store, "analyses/1", share=share, kind="analysis")
    clock.now += DAY_S
    with pytest.raises(errors.QuotaExceeded) as caught:
        await create(store, "compositions/c", share=share, audio_ms=100_001)
    assert caught.value.retry_after_s is None
    await create(store, "compositions/c", share=share, audio_ms=50_000)
    await create(store, "compositions/bob", "bob", share=share, audio_ms=100_000)


async def test_full_storage_refuses_jobs_and_uploads_until_something_is_deleted(store: Store) -> None:
    share = Share(storage_bytes=100)
    await create(store, "compositions/a", share=share)
    claimed = await store.claim("c1", LEASE_S)
    assert claimed is not None
    await append(store, claimed.name, claimed.epoch, rows(b"end"), terminal=True, delivered=Delivered(stored_bytes=90))
    limits = {"quota_bytes": 1000, "storage_bytes": 100}
    with pytest.raises(errors.QuotaExceeded) as caught:
        await store.create_upload(Upload("uploads/1", "ann", "audio/flac", size=11), max_uploads=9, **limits)
    assert (caught.value.metadata["unit"], caught.value.metadata["used"]) == ("storage_bytes", "90")
    await store.create_upload(Upload("uploads/2", "ann", "audio/flac", size=10), max_uploads=9, **limits)
    await store.create_upload(Upload("uploads/3", "ann", "audio/flac"), max_uploads=9, **limits)
    await store.advance_upload("uploads/2", UploadPart(0, 10, "k"), **limits)
    with pytest.raises(errors.QuotaExceeded):
        await store.advance_upload("uploads/3", UploadPart(0, 1, "k"), **limits)
    with pytest.raises(errors.QuotaExceeded):
        await create(store, "compositions/b", share=share)
    await store.delete("compositions/a")
    await create(store, "compositions/b", share=share)


async def test_the_models_that_may_play_a_job_are_kept(store: Store) -> None:
    await create(store, "compositions/a", models=("sketch", "musicgen-*"))
    await create(store, "compositions/b")
    found = [await store.get(name) for name in ("compositions/a", "compositions/b")]
    assert [each and each.models for each in found] == [("sketch", "musicgen-*"), None]


@given(slots=st.integers(1, 4), warm_up=st.integers(0, 9), pause=st.lists(st.integers(0, 3), min_size=1, max_size=6))
@FEW
def test_a_flood_delays_another_owner_by_at_most_one_job_for_each_slot(
    slots: int, warm_up: int, pause: list[int], backend: Callable[..., Backend]
) -> None:
    """Each slot ends what it works on when the other owner's job comes, and one more job of the flood may start."""

    async def run() -> None:
        opened = backend(Clock(), Clock())
        store = await opened()
        for index in range(60):
            await create(store, f"compositions/flood{index}", "flood")
        running: list[Job] = []

        async def fill() -> list[str]:
            started = []
            while len(running) < slots and (claimed := await store.claim("c1", LEASE_S)) is not None:
                running.append(claimed)
                started.append(claimed.owner)
            return started

        await fill()
        for _ in range(warm_up):
            await end(store, running.pop(0))
            await fill()
        for number, ends in enumerate(pause):
            for _ in range(ends):
                await end(store, running.pop(0))
                await fill()
            await create(store, f"compositions/other{number}", "other")
            started: list[str] = []
            while "other" not in started:
                await end(store, running.pop(0))
                started += await fill()
            assert started.count("flood") <= 1
        await opened.close()

    asyncio.run(run())
