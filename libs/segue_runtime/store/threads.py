"""The threads of the embedded store: one writer, which commits in groups, and a few readers."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from segue_runtime import failpoints, logs
from segue_runtime.errors import InternalError, SegueError, StorageFull, StoreUnavailable
from segue_runtime.store.schema import RESTORE, open_reader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
BEFORE_COMMIT = failpoints.declare("store.before_commit", "A write is not committed yet.")
AFTER_COMMIT = failpoints.declare("store.after_commit", "A write is durable, but nobody knows.")
MAX_GROUP = 256
NUM_READERS = 2
RETRY_S = 1.0
# A full disk usually shows as SQLITE_FULL, or as an I/O error while the journal is written.
FULL = frozenset({"SQLITE_FULL", "SQLITE_IOERR_WRITE"})
DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
log = logs.get("store")


@dataclass(slots=True)
class Transaction:
    """The transaction of an operation. `after_commit` runs on the event loop once the rows are durable.

    `now` is wall-clock time, `steady_now` is the machine's steady clock.
    """

    cx: sqlite3.Connection
    now: float
    steady_now: float
    after_commit: list[Callable[[], None]] = field(default_factory=list)


@dataclass(slots=True)
class Operation:
    """One write in the writer's queue."""

    work: Callable[[Transaction], Any]
    done: asyncio.Future[Any]
    after_commit: list[Callable[[], None]] = field(default_factory=list)


def translate(error: Exception) -> SegueError:
    """Turn an error of SQLite into a SegueError."""
    if isinstance(error, SegueError):
        return error
    if isinstance(error, sqlite3.Error):
        name = getattr(error, "sqlite_errorname", "")
        if name in FULL:
            return StorageFull("the disk of the store is full: free some space, or shorten store.retention")
        if name.startswith(DAMAGED):
            return StoreUnavailable(f"the file of the store is damaged: {RESTORE}", retry_after_s=RETRY_S)
        if isinstance(error, sqlite3.OperationalError):
            return StoreUnavailable(f"the store does not answer ({name or 'SQLite'})", retry_after_s=RETRY_S)
    failure = InternalError("the store failed; see the log")
    failure.__cause__ = error
    return failure


class WriterThread:
    """The only thread that writes. Operations that arrive during a commit share the next one."""

    def __init__(self, cx: sqlite3.Connection, clock: Callable[[], float], steady_clock: Callable[[], float]) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._steady_clock = steady_clock
        self._waiting: queue.SimpleQueue[Operation | None] = queue.SimpleQueue()
        self._cx = cx
        self._failures = logs.BoundedLog(log)
        self._closed = False
        self.failure: SegueError | None = None
        """The failure of the last commit, if it failed."""
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[Transaction], T]) -> T:
        """Run one operation in a transaction; return when it is durable."""
        if self._closed:
            raise StoreUnavailable("the store is closed: the process is shutting down", retry_after_s=RETRY_S)
        operation = Operation(work, self._loop.create_future())
        self._waiting.put(operation)
        result: T = await operation.done
        return result

    async def close(self) -> None:
        """Commit the waiting operations, then end the thread."""
        if not self._closed:
            self._closed = True
            self._waiting.put(None)
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while True:
            group = [self._waiting.get()]
            with contextlib.suppress(queue.Empty):
                while len(group) < MAX_GROUP:
                    group.append(self._waiting.get_nowait())
            operations = [operation for operation in group if operation is not None]
            if operations:
                self._commit(operations)
            if None in group:
                self._cx.close()
                return

    def _commit(self, operations: list[Operation]) -> None:
        """Run a group in one transaction. A failed operation rolls back its own rows only."""
        outcomes: list[tuple[Operation, Any, Exception | None]]
        try:
            self._cx.execute("BEGIN IMMEDIATE")
            times = self._clock(), self._steady_clock()
            outcomes = [(operation, *self._one(operation, *times)) for operation in operations]
            failpoints.hit(BEFORE_COMMIT)
            self._cx.execute("COMMIT")
            failpoints.hit(AFTER_COMMIT)
            self.failure = None
        except Exception as error:
            with contextlib.suppress(sqlite3.Error):
                self._cx.execute("ROLLBACK")
            failure = self.failure = translate(error)
            if isinstance(failure, InternalError):
                log.exception("commit failed", num_operations=len(operations))
            else:  # a full or failing disk is no fault of ours, and each write meets it
                self._failures.warning("commit failed", reason=failure.reason, num_operations=len(operations))
            outcomes = [(operation, None, failure) for operation in operations]
            for operation in operations:
                operation.after_commit.clear()
        with contextlib.suppress(RuntimeError):  # the event loop is closed: no caller waits
            self._loop.call_soon_threadsafe(_deliver, outcomes)

    def _one(self, operation: Operation, now: float, steady_now: float) -> tuple[Any, Exception | None]:
        transaction = Transaction(self._cx, now, steady_now)
        self._cx.execute("SAVEPOINT operation")
        try:
            result = operation.work(transaction)
        except Exception as error:
            self._cx.execute("ROLLBACK TO operation")
            if isinstance(error, sqlite3.OperationalError):
                raise  # the disk or the file failed: roll back the whole group
            return None, translate(error)
        finally:
            if self._cx.in_transaction:
                self._cx.execute("RELEASE operation")
        operation.after_commit = transaction.after_commit
        return result, None


def _deliver(outcomes: list[tuple[Operation, Any, Exception | None]]) -> None:
    """Run on the event loop: first update caches and wake waiters, then return to the callers."""
    for operation, _, _ in outcomes:
        for call in operation.after_commit:
            call()
    for operation, result, error in outcomes:
        if operation.done.done():
            continue  # the caller was cancelled; the rows stay
        if error is None:
            operation.done.set_result(result)
        else:
            operation.done.set_exception(error)


class ReaderThreads:
    """Threads that only read, with a connection each; they see committed rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._threads = ThreadPoolExecutor(NUM_READERS, thread_name_prefix="store-reader")

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a read in one of the threads."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, lambda: work(self._connection()))
        except (sqlite3.Error, RuntimeError) as error:
            raise translate(error) from error

    async def close(self) -> None:
        """End the threads and close their connections."""
        await asyncio.to_thread(self._threads.shutdown)
        for cx in self._opened:
            cx.close()

    def _connection(self) -> sqlite3.Connection:
        cx: sqlite3.Connection | None = getattr(self._own, "cx", None)
        if cx is None:
            cx = open_reader(self._path)
            self._own.cx = cx
            self._opened.append(cx)
        return cx
