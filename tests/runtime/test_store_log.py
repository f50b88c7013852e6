"""The contract of every store: a job's log, its progress, and uploads."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from tests.runtime.store_rows import LEASE_S, Clock, Opens, append, create, epoch_of, payloads, rows

from segue_runtime import errors
from segue_runtime.store import (
    Event,
    Fenced,
    LogEnded,
    Progress,
    Store,
    TailLost,
    Upload,
    UploadPart,
    notifier,
    uploads,
)
from segue_runtime.store.caches import ProgressCache

# Log


async def test_an_append_changes_everything_or_nothing(store: Store) -> None:
    await create(store)
    epoch = await epoch_of(store)
    last = await append(
        store, "compositions/a", epoch, rows(b"1", b"2"), resource=b"r2", state="RENDERING", checkpoint=b"cp"
    )
    assert last == 2
    found = await store.get("compositions/a")
    assert found is not None
    assert (found.resource, found.state, found.checkpoint, found.last_sequence) == (b"r2", "RENDERING", b"cp", 2)
    with pytest.raises(Fenced):
        await append(store, "compositions/a", epoch - 1, rows(b"x"), resource=b"r3", checkpoint=b"late")
    assert await store.get("compositions/a") == found
    assert await append(store, "compositions/a", epoch, [], state="MASTERING") == 2


async def test_nothing_follows_the_terminal_event(store: Store) -> None:
    await create(store)
    epoch = await epoch_of(store)
    await append(store, "compositions/a", epoch, rows(b"1", b"end"), state="SUCCEEDED", terminal=True)
    for terminal in (False, True):
        with pytest.raises(LogEnded):
            await append(store, "compositions/a", epoch, rows(b"more"), terminal=terminal)
    with pytest.raises(Fenced):
        await store.renew("compositions/a", epoch, LEASE_S)
    assert await store.claim("c2", LEASE_S) is None
    assert await payloads(store) == [b"1", b"end"]


async def test_a_waiter_that_begins_during_the_last_sleep_of_the_polling_is_woken(
    opens: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "POLL_S", 0.3)
    monkeypatch.setattr(notifier, "POLL_ALL_S", 0.1)
    store, other = await opens(), await opens()
    await create(store)
    epoch = await epoch_of(store)
    assert not await store.wait("compositions/a", 0, 0.02)
    await append(other, "compositions/a", epoch, rows(b"1"))
    assert await store.wait("compositions/a", 0, 5.0)


def test_progress_that_was_read_late_does_not_replace_newer_progress() -> None:
    cache = ProgressCache()
    for version in (4, 5, 4):
        cache.put("compositions/a", Progress(version, b""))
    assert cache.get("compositions/a") == Progress(5, b"")


async def test_reading_pages_through_a_log_longer_than_the_tail(opens: Opens) -> None:
    store, other = await opens(), await opens()
    await create(store)
    epoch = await epoch_of(store)
    written = [str(index).encode() for index in range(25)]
    for payload in written:
        await append(store, "compositions/a", epoch, rows(payload))
        await store.read("compositions/a", 0, 3)
    for reader, limit in itertools.product((store, other), (1, 3, 7, 100)):
        seen: list[bytes] = []
        while page := await reader.read("compositions/a", len(seen), limit):
            assert [event.sequence for event in page] == list(range(len(seen) + 1, len(seen) + len(page) + 1))
            seen += [event.payload for event in page]
        assert seen == written


async def test_a_cursor_beyond_the_log_names_its_last_sequence(store: Store) -> None:
    await create(store, first_events=rows(b"1", b"2", b"3"))
    assert list(await store.read("compositions/a", 3)) == []
    for after in (4, 2**62):
        with pytest.raises(errors.CursorAhead) as ahead:
            await store.read("compositions/a", after)
        assert ahead.value.metadata["lastSequence"] == "3"


@pytest.mark.parametrize("by_stamps", [True, False])
@pytest.mark.parametrize("same_process", [True, False])
async def test_a_watcher_sees_every_event_of_any_process(opens: Opens, same_process: bool, by_stamps: bool) -> None:
    conductor = await opens()
    gateway = conductor if same_process else await opens()
    await create(conductor)
    epoch = await epoch_of(conductor)

    async def watch() -> list[Event]:
        seen: list[Event] = []
        while len(seen) < 45:
            stamp = seen[-1].stamp if seen and by_stamps else 0
            page = await gateway.read("compositions/a", len(seen), stamp=stamp)
            seen += page
            if not page:
                await gateway.wait("compositions/a", len(seen), 10)
        return seen

    watchers = [asyncio.create_task(watch()) for _ in range(5)]
    for index in range(30):
        written = [b"x", b""] if index % 2 else [b"\0" * 9000 if index % 10 == 4 else b"\0a\0"]
        await append(conductor, "compositions/a", epoch, rows(*written))
        if index % 5 == 0:
            await asyncio.sleep(0.05)
    stored = list(await conductor.read("compositions/a", 0))
    assert [event.sequence for event in stored] == list(range(1, 46))
    for seen in await asyncio.gather(*watchers):
        assert seen == stored


async def test_waiting_times_out_and_many_waiters_share_a_key(store: Store) -> None:
    await create(store, first_events=rows(b"1"))
    assert not await store.wait("compositions/a", 1, 0.05)
    assert await store.wait("compositions/a", 0, 10)
    epoch = await epoch_of(store)
    waiting = [asyncio.create_task(store.wait("compositions/a", 1, 30)) for _ in range(50)]
    given_up = asyncio.create_task(store.wait("compositions/a", 1, 30))
    await asyncio.sleep(0.05)
    given_up.cancel()
    await append(store, "compositions/a", epoch, rows(b"2"))
    assert all(await asyncio.gather(*waiting))


async def test_a_deleted_job_wakes_its_watchers(store: Store) -> None:
    await create(store)
    await append(store, "compositions/a", await epoch_of(store), rows(b"end"), terminal=True)
    waiting = asyncio.create_task(store.wait("compositions/a", 1, 30))
    await asyncio.sleep(0.05)
    await store.delete("compositions/a")
    assert await waiting


async def test_a_store_that_lost_its_tail_has_no_writer_and_no_reader_of_the_lost_rows(opens: Opens) -> None:
    name = "compositions/a"
    store = await opens()
    await create(store, name, first_events=rows(b"1"))
    claimed = await store.claim("c1", 1e6)
    assert claimed is not None
    kept = await store.append(name, claimed.epoch, rows(b"2"), after=claimed.last_row)
    await opens.back_up()
    store = await opens()
    lost = await store.append(name, claimed.epoch, rows(b"3", b"4"), after=kept)
    await opens.restore()
    store = await opens()
    with pytest.raises(Fenced):
        await store.append(name, claimed.epoch, rows(b"5"), after=lost)
    with pytest.raises(TailLost):
        await store.read(name, lost.sequence, stamp=lost.stamp)
    assert await store.read(name, kept.sequence, stamp=kept.stamp) == []
    # Other rows get the same sequences, under the same epoch.
    found = await store.append(name, claimed.epoch, rows(b"x", b"y"), after=kept)
    assert (found.sequence, await store.get(name)) == (lost.sequence, await (await opens()).get(name))
    with pytest.raises(Fenced):
        await store.append(name, claimed.epoch, rows(b"5"), after=lost)
    for _ in range(2):  # the second time the rows are cached
        for after in (3, 4):
            with pytest.raises(TailLost):
                await store.read(name, after, stamp=lost.stamp)
            assert await payloads(store, name, after) == [b"x", b"y"][after - 2 :]
        for after, mark in ((2, kept), (3, found)):
            read = await store.read(name, after, stamp=mark.stamp)
            assert [event.payload for event in read] == [b"x", b"y"][after - 2 :]
        assert await payloads(store, name) == [b"1", b"2", b"x", b"y"]


# Uploads


def part(offset: int, length: int, key: str = "k") -> UploadPart:
    return UploadPart(offset, length, key)


async def test_an_upload_grows_only_at_its_end_and_within_the_quota(store: Store) -> None:
    await store.create_upload(Upload("uploads/1", "ann", "audio/flac", size=10), quota_bytes=15, max_uploads=3)
    await store.create_upload(Upload("uploads/2", "ann", "audio/flac"), quota_bytes=15, max_uploads=3)
    assert (await store.advance_upload("uploads/1", part(0, 4), quota_bytes=15)).offset == 4
    for offset, length in ((0, 4), (5, 1), (4, 7)):
        with pytest.raises(errors.OffsetOutOfRange) as caught:
            await store.advance_upload("uploads/1", part(offset, length), quota_bytes=15)
        assert caught.value.metadata["size"] == "4"
    with pytest.raises(errors.OffsetOutOfRange):
        await store.finish_upload("uploads/1", b"h")
    with pytest.raises(errors.QuotaExceeded):
        await store.advance_upload("uploads/2", part(0, 12), quota_bytes=15)
    with pytest.raises(errors.QuotaExceeded):
        await store.create_upload(Upload("uploads/3", "ann", "audio/flac", size=12), quota_bytes=15, max_uploads=3)
    await store.advance_upload("uploads/1", part(4, 6), quota_bytes=15)
    done = await store.finish_upload("uploads/1", b"h")
    assert (done.finished, done.size, done.digest) == (True, 10, b"h")
    for attempt in (
        store.advance_upload("uploads/1", part(10, 1), quota_bytes=15),
        store.finish_upload("uploads/1", b"h"),
    ):
        with pytest.raises(errors.UploadFinished):
            await attempt
    await store.discard_upload("uploads/1")
    assert await store.get_upload("uploads/1") is None
    await store.create_upload(Upload("uploads/3", "ann", "audio/flac", size=12), quota_bytes=15, max_uploads=2)
    await store.delete_upload("uploads/1")
    with pytest.raises(errors.ArtifactNotFound):
        await store.discard_upload("uploads/1")
    assert (await store.get_upload("uploads/2")) is not None


async def test_an_upload_without_bytes_takes_no_quota(store: Store) -> None:
    await store.create_upload(Upload("uploads/1", "ann", "audio/flac", size=15), quota_bytes=15, max_uploads=3)
    await store.create_upload(Upload("uploads/0", "ann", "audio/flac", size=15), quota_bytes=15, max_uploads=3)
    await store.discard_upload("uploads/0")
    assert await store.get_upload("uploads/0") is None
    await store.create_upload(Upload("uploads/2", "ann", "audio/flac", size=15), quota_bytes=15, max_uploads=3)
    await store.advance_upload("uploads/2", part(0, 15), quota_bytes=15)
    await store.finish_upload("uploads/2", b"h")
    with pytest.raises(errors.QuotaExceeded):
        await store.advance_upload("uploads/1", part(0, 1), quota_bytes=15)


async def test_an_unfinished_upload_expires_after_an_hour_of_silence(opens: Opens, clock: Clock) -> None:
    store = await opens(retention_s=86_400)
    for name, size in (("uploads/1", 2), ("uploads/2", 2), ("uploads/3", 1)):
        await store.create_upload(Upload(name, "ann", "audio/flac", size=size), quota_bytes=15, max_uploads=3)
    await store.advance_upload("uploads/3", part(0, 1), quota_bytes=15)
    await store.finish_upload("uploads/3", b"h")
    clock.now += 3000
    kept = await store.advance_upload("uploads/2", part(0, 1), quota_bytes=15)
    assert kept.expires(86_400) == clock.now + 3600
    clock.now += 3000
    assert [each.name for each in await store.expired_uploads()] == ["uploads/1"]


@pytest.mark.parametrize("field", ["upload", "second_upload"])
async def test_an_upload_stays_while_an_unfinished_job_needs_it(store: Store, clock: Clock, field: str) -> None:
    await store.create_upload(Upload("uploads/1", "ann", "audio/flac", size=1), quota_bytes=15, max_uploads=3)
    with pytest.raises(errors.ArtifactNotFound):  # it is not finished
        await create(store, **{field: "uploads/1"})
    await store.advance_upload("uploads/1", part(0, 1), quota_bytes=15)
    await store.finish_upload("uploads/1", b"h")
    await create(store, **{field: "uploads/1"})
    with pytest.raises(errors.NotFinished) as caught:
        await store.discard_upload("uploads/1")
    assert caught.value.metadata == {"name": "compositions/a"}
    clock.now += 1e6
    assert not await store.expired_uploads()
    await append(store, "compositions/a", await epoch_of(store), rows(b"end"), terminal=True)
    assert [each.name for each in await store.expired_uploads()] == ["uploads/1"]
    await store.discard_upload("uploads/1")
    with pytest.raises(errors.ArtifactNotFound):
        await create(store, "compositions/b", **{field: "uploads/1"})
    await store.delete_upload("uploads/1")
    assert not await store.expired_uploads()


async def test_an_upload_has_a_limited_number_of_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_PARTS", 2)
    await store.create_upload(Upload("uploads/1", "ann", "audio/flac", size=9), quota_bytes=15, max_uploads=3)
    for offset in range(2):
        await store.advance_upload("uploads/1", part(offset, 1), quota_bytes=15)
    with pytest.raises(errors.QuotaExceeded) as caught:
        await store.advance_upload("uploads/1", part(2, 1), quota_bytes=15)
    assert caught.value.metadata["unit"] == "writes"


# Progress


async def test_progress_is_the_last_written_one_and_no_row_of_the_log(store: Store, opens: Opens) -> None:
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
