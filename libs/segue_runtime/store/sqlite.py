"""The embedded store: one SQLite file that the processes of one machine share."""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from segue_runtime.clocks import REAL
from segue_runtime.errors import StorageFull, StoreUnavailable
from segue_runtime.store import events as event_log
from segue_runtime.store import jobs, uploads
from segue_runtime.store.caches import EventCache, ProgressCache
from segue_runtime.store.locks import exclusive
from segue_runtime.store.notifier import Notifier, cancel_key, log_key, queue_key
from segue_runtime.store.owners import erasure, usage
from segue_runtime.store.owners.records import Delivered
from segue_runtime.store.pool.sqlite_pool import SqlitePool
from segue_runtime.store.queue import order
from segue_runtime.store.records import RowMark
from segue_runtime.store.schema import RESTORE, open_reader, open_writer, shrink
from segue_runtime.store.threads import ReaderThreads, Transaction, WriterThread

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from segue_runtime.accounting.traffic import Traffic
    from segue_runtime.clocks import Clocks
    from segue_runtime.store.base import Pool
    from segue_runtime.store.owners.records import UsagePage, UsagePlace
    from segue_runtime.store.records import (
        Created,
        Depth,
        Event,
        Job,
        NewEvent,
        NewJob,
        Page,
        Progress,
        Renewal,
        Upload,
        UploadPage,
        UploadPart,
    )

T = TypeVar("T")
RETENTION_S = 7 * 86400.0
TAIL_ROWS = 256


class SqliteStore:
    """Open it with `await SqliteStore.open(path)`, on the event loop that uses it. Store documents the methods."""

    def __init__(
        self,
        path: Path,
        writer: WriterThread,
        notifier: Notifier,
        events: EventCache,
        retention_s: float,
        release_reserve: Callable[[], bool],
        clocks: Clocks,
        token_key: bytes,
    ) -> None:
        self._path = path
        self._writer = writer
        self._readers = ReaderThreads(path)
        self.notifier = notifier
        self._events = events
        self._retention_s = retention_s
        self._progress = ProgressCache()
        self._release_reserve = release_reserve
        self.pool: Pool = SqlitePool(writer, self._readers, notifier, retention_s, self._run_ending, clocks.steady)
        self._wall_clock = clocks.wall
        self.token_key = token_key

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        retention_s: float = RETENTION_S,
        tail_rows: int = TAIL_ROWS,
        clocks: Clocks = REAL,
        release_reserve: Callable[[], bool] = lambda: False,
    ) -> SqliteStore:
        """Open the file, or create it."""
        try:
            writing = await asyncio.to_thread(open_writer, path)
            reading = await asyncio.to_thread(open_reader, path)
            token_key: bytes = reading.execute("SELECT key FROM token_key").fetchone()[0]
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(f"the store {path} cannot be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            raise StoreUnavailable(f"the store {path} is damaged ({error}): {RESTORE}") from error
        notifier = Notifier(reading, clocks.steady)
        writer = WriterThread(writing, clocks.wall, clocks.steady)
        events = EventCache(tail_rows)
        return cls(path, writer, notifier, events, retention_s, release_reserve, clocks, token_key)

    async def close(self) -> None:
        await self._writer.close()
        await self.notifier.close()
        await self._readers.close()

    async def check(self) -> None:
        if self._writer.failure is not None:
            await self._writer.run(lambda _tx: None)
        await self.depths()

    def exclusive(self, name: str) -> AbstractAsyncContextManager[None]:
        return exclusive(self._path.with_name(f"{self._path.name}-{name}"))

    async def _run_ending(self, work: Callable[[Transaction], T]) -> T:
        """Run a write that ends or frees something. It may use the reserve of a full disk."""
        try:
            return await self._writer.run(work)
        except StorageFull:
            if not self._release_reserve():
                raise
            return await self._writer.run(work)

    # Jobs

    async def create(self, job: NewJob, *, queue_limit: int) -> Created:
        def work(tx: Transaction) -> Created:
            created = jobs.create(tx, job, queue_limit)
            if created.is_new:
                tx.after_commit.append(self.notifier.notify_queue)
            return created

        return await self._writer.run(work)

    async def get(self, name: str) -> Job | None:
        return await self._readers.run(partial(jobs.find, name=name))

    async def list(
        self,
        owner: str | None,
        kinds: Sequence[str],
        *,
        states: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        limit: int = 50,
        after: int | None = None,
    ) -> Page:
        return await self._readers.run(lambda cx: jobs.page(cx, owner, kinds, states, labels or {}, limit, after))

    async def delete(self, name: str) -> None:
        def work(tx: Transaction) -> None:
            jobs.delete(tx, name)
            tx.after_commit += [
                partial(self._events.drop, name),
                partial(self._progress.drop, name),
                partial(self.notifier.notify, log_key(name)),
            ]

        await self._run_ending(work)

    async def expired(self, limit: int = 100) -> Sequence[Job]:
        return await self._writer.run(lambda tx: jobs.expired(tx.cx, tx.now, limit))

    async def scan(self, kind: str, *, limit: int = 100, after: int | None = None) -> Page:
        return await self._readers.run(lambda cx: jobs.scan(cx, kind, limit, after))

    async def num_deleted(self) -> int:
        return await self._readers.run(jobs.num_deleted)

    async def shrink(self) -> None:
        while await self._writer.run(lambda tx: shrink(tx.cx)):
            pass

    # Queue

    async def claim(self, conductor_id: str, lease_s: float, kinds: Sequence[str] = ()) -> Job | None:
        return await self._run_ending(lambda tx: jobs.claim(tx, conductor_id, lease_s, kinds))

    async def claim_one(self, name: str, holder: str, lease_s: float) -> Job | None:
        return await self._run_ending(lambda tx: jobs.claim_one(tx, name, holder, lease_s))

    async def renew(self, name: str, epoch: int, lease_s: float) -> Renewal:
        return await self._run_ending(lambda tx: jobs.renew(tx, name, epoch, lease_s))

    async def release(self, name: str, epoch: int) -> None:
        def work(tx: Transaction) -> None:
            jobs.release(tx, name, epoch)
            tx.after_commit.append(self.notifier.notify_queue)

        await self._run_ending(work)

    async def set_alone(self, name: str, epoch: int) -> None:
        await self._run_ending(lambda tx: jobs.set_alone(tx, name, epoch))

    async def wait_for_job(self, timeout_s: float, kinds: Sequence[str] = ()) -> bool:
        return await self.notifier.wait(queue_key(kinds), timeout_s)

    async def queue_positions(self, names: Sequence[str]) -> Mapping[str, int]:
        return await self._readers.run(partial(order.positions, names=names)) if names else {}

    async def depths(self) -> Mapping[str, Depth]:
        return await self._readers.run(order.depths)

    async def request_cancel(self, name: str, reason: str) -> Job:
        def work(tx: Transaction) -> Job:
            job = jobs.request_cancel(tx, name, reason)
            tx.after_commit += [partial(self.notifier.notify, cancel_key(name)), self.notifier.notify_queue]
            return job

        return await self._run_ending(work)

    async def wait_for_cancel(self, name: str, timeout_s: float) -> bool:
        return await self.notifier.wait(cancel_key(name), timeout_s)

    async def attach(self, name: str, for_s: float) -> None:
        await self._writer.run(lambda tx: jobs.attach(tx, name, for_s))

    # Log

    async def append(
        self,
        name: str,
        epoch: int,
        events: Sequence[NewEvent],
        *,
        after: RowMark,
        resource: bytes | None = None,
        state: str | None = None,
        checkpoint: bytes | None = None,
        terminal: bool = False,
        delivered: Delivered | None = None,
    ) -> RowMark:
        def work(tx: Transaction) -> RowMark:
            written = event_log.append(
                tx,
                name,
                epoch,
                events,
                after=after,
                resource=resource,
                state=state,
                checkpoint=checkpoint,
                expires=tx.now + self._retention_s if terminal else None,
                delivered=delivered or Delivered(),
            )
            tx.after_commit += [
                partial(self._events.add_committed, name, written),
                partial(self.notifier.notify, log_key(name)),
            ]
            if terminal:  # its owner's running limit may let another job start
                tx.after_commit.append(self.notifier.notify_queue)
            return RowMark(written[-1].sequence, written[-1].stamp) if written else after

        return await (self._run_ending(work) if terminal else self._writer.run(work))

    async def read(self, name: str, after: int, limit: int = 256, *, stamp: int = 0) -> Sequence[Event]:
        cached = self._events.read(name, after, limit, stamp)
        if cached:
            return cached
        rows = await self._readers.run(lambda cx: event_log.read(cx, name, after, limit, stamp))
        self._events.add_read(name, after, rows, limit)
        return rows

    async def wait(self, name: str, after: int, timeout_s: float) -> bool:
        if self._events.read(name, after, 1, 0):
            return True
        return await self.notifier.wait(log_key(name), timeout_s, after)

    async def set_progress(self, name: str, epoch: int, payload: bytes) -> None:
        def work(tx: Transaction) -> None:
            changed = event_log.set_progress(tx, name, epoch, payload)
            tx.after_commit.append(lambda: self._progress.put(name, changed))

        await self._writer.run(work)

    async def progress(self, name: str) -> Progress:
        known = self._progress.get(name)
        if known is None:
            known = await self._readers.run(lambda cx: event_log.progress(cx, name))
            self._progress.put(name, known)
        return known

    # Uploads

    async def create_upload(
        self, upload: Upload, *, quota_bytes: int, max_uploads: int, storage_bytes: int | None = None
    ) -> Upload:
        return await self._writer.run(
            lambda tx: uploads.create_upload(tx, upload, quota_bytes, max_uploads, storage_bytes)
        )

    async def get_upload(self, name: str) -> Upload | None:
        return await self._readers.run(partial(uploads.find_upload, name=name))

    async def list_uploads(self, owner: str | None, *, limit: int = 50, after: int | None = None) -> UploadPage:
        return await self._readers.run(lambda cx: uploads.page(cx, owner, limit, after))

    async def advance_upload(
        self, name: str, part: UploadPart, *, quota_bytes: int, storage_bytes: int | None = None
    ) -> Upload:
        return await self._writer.run(lambda tx: uploads.advance_upload(tx, name, part, quota_bytes, storage_bytes))

    async def upload_parts(self, name: str, start: int = 0, end: int | None = None) -> Sequence[UploadPart]:
        return await self._readers.run(lambda cx: uploads.parts(cx, name, start, end))

    async def finish_upload(self, name: str, digest: bytes) -> Upload:
        return await self._writer.run(lambda tx: uploads.finish_upload(tx, name, digest))

    async def discard_upload(self, name: str) -> None:
        await self._run_ending(lambda tx: uploads.discard_upload(tx, name))

    async def delete_upload(self, name: str) -> None:
        await self._run_ending(lambda tx: uploads.delete_upload(tx, name))

    async def expired_uploads(self, limit: int = 100) -> Sequence[Upload]:
        return await self._writer.run(lambda tx: uploads.expired_uploads(tx.cx, tx.now, self._retention_s, limit))

    # Usage

    async def add_traffic(self, traffic: Mapping[str, Traffic]) -> None:
        await self._writer.run(lambda tx: usage.add_traffic(tx, traffic))

    async def usage(
        self,
        owner: str | None,
        first_day: dt.date,
        last_day: dt.date,
        *,
        limit: int = 100,
        after: UsagePlace | None = None,
    ) -> UsagePage:
        return await self._readers.run(lambda cx: usage.usage(cx, owner, first_day, last_day, limit, after))

    async def audio_seconds_today(self, owner: str) -> float:
        return await self._readers.run(lambda cx: usage.audio_seconds(cx, owner, self._wall_clock()))

    async def stored_bytes(self, owner: str) -> int:
        return await self._readers.run(lambda cx: usage.stored_bytes(cx, owner))

    # Owners

    async def discarded_uploads(self, owner: str) -> Sequence[str]:
        return await self._readers.run(lambda cx: erasure.discarded_uploads(cx, owner))

    async def erase(self, owner: str) -> int:
        return await self._run_ending(lambda tx: erasure.erase(tx, owner))

    async def purge(self) -> None:
        await asyncio.to_thread(erasure.purge, self._path)
