"""Wakes waiters after commits: directly in this process, and by polling the file for commits of other processes.

A notification is only a hint. Every waiter is compared with committed rows within 20 ms after it begins to wait, after
each commit of any process (`PRAGMA data_version`), and once a second. A lost notification costs time, never an event.
One query serves all waiters, and it runs only while there are waiters.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segue_runtime import logs
from segue_runtime.store import events
from segue_runtime.store.pool import tables
from segue_runtime.store.queue import order

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

POLL_S = 0.02
POLL_ALL_S = 1.0
Key = tuple[str, ...]
TURN_KEY: Key = ("turn",)
"""The key of waiters for the next lease of any section."""
log = logs.get("store")


def log_key(name: str) -> Key:
    """Return the key of waiters for a job's next event."""
    return ("log", name)


def cancel_key(name: str) -> Key:
    """Return the key of waiters for a job's cancellation."""
    return ("cancel", name)


def queue_key(kinds: Iterable[str]) -> Key:
    """Return the key of waiters for jobs to claim."""
    return ("queue", *sorted(kinds))


def line_key(ticket: int) -> Key:
    """Return the key of the waiter for a section's lease."""
    return ("line", str(ticket))


@dataclass(slots=True)
class Waiters:
    """All waiters for one key; `after` is the lowest sequence that one of them has."""

    notified: asyncio.Future[None]
    after: int
    num_waiters: int = 0
    is_checked: bool = False


class WaitersByKey(ABC):
    """The waiters of one store in one process. A subclass polls while there are some."""

    def __init__(self) -> None:
        self._waiting: dict[Key, Waiters] = {}

    def notify(self, key: Key) -> None:
        """Wake this process's waiters for a key after a commit."""
        self._wake(key)

    def notify_queue(self) -> None:
        """Wake all waiters for jobs of any kind."""
        for key in [key for key in self._waiting if key[0] == "queue"]:
            self.notify(key)

    async def wait(self, key: Key, timeout_s: float, after: int = 0) -> bool:
        """Wait for a notification; return False after the timeout."""
        entry = self._waiting.get(key)
        if entry is None:
            entry = self._waiting[key] = Waiters(asyncio.get_running_loop().create_future(), after)
        entry.num_waiters += 1
        entry.after = min(entry.after, after)
        entry.is_checked = False
        self._begin_polling()
        try:
            done, _ = await asyncio.wait({entry.notified}, timeout=max(0.0, timeout_s))
        finally:
            entry.num_waiters -= 1
            if entry.num_waiters == 0 and self._waiting.get(key) is entry:
                del self._waiting[key]
        return bool(done)

    @abstractmethod
    def _begin_polling(self) -> None:
        """Compare a new waiter with what is committed soon, and repeat that while there are waiters."""

    def _wake_all(self) -> None:
        for key in list(self._waiting):
            self._wake(key)

    def _wake(self, key: Key) -> None:
        entry = self._waiting.pop(key, None)
        if entry is not None and not entry.notified.done():
            entry.notified.set_result(None)


class Notifier(WaitersByKey):
    """Wakes the waiters of one embedded store. `cx` is its own connection, used on the event loop."""

    def __init__(self, cx: sqlite3.Connection, steady_clock: Callable[[], float]) -> None:
        super().__init__()
        self._cx = cx
        self._steady_clock = steady_clock
        self._polling: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Wake all waiters and stop polling."""
        self._wake_all()
        if self._polling is not None:
            self._polling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._polling
        self._cx.close()

    def _begin_polling(self) -> None:
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """Poll while there are waiters, and a second longer."""
        loop = asyncio.get_running_loop()
        version, last_poll, last_waiter = None, loop.time(), loop.time()
        # Waiters that came during the sleep rely on this loop.
        while self._waiting or loop.time() - last_waiter < POLL_ALL_S:
            try:
                seen = self._cx.execute("PRAGMA data_version").fetchone()[0]
                if seen != version or loop.time() - last_poll >= POLL_ALL_S:
                    version, last_poll = seen, loop.time()
                    self._poll(list(self._waiting))
                elif unchecked := [key for key, entry in self._waiting.items() if not entry.is_checked]:
                    self._poll(unchecked)
            except Exception:  # the next poll may succeed; waiters must not hang
                log.exception("polling the store failed")
            if self._waiting:
                last_waiter = loop.time()
            await asyncio.sleep(POLL_S)

    def _poll(self, keys: list[Key]) -> None:
        """Wake the waiters whose condition holds in the committed rows."""
        named = [key for key in keys if key[0] in {"log", "cancel"}]
        states = events.states_of(self._cx, [key[1] for key in named]) if named else {}
        for key in named:
            entry = self._waiting[key]
            entry.is_checked = True
            # A deleted job wakes its waiters too; their next read raises the error.
            last_sequence, is_ending = states.get(key[1], (entry.after + 1, True))
            if is_ending if key[0] == "cancel" else last_sequence > entry.after:
                self._wake(key)
        self._poll_line([key for key in keys if key[0] == "line"])
        if TURN_KEY in keys:
            self._waiting[TURN_KEY].is_checked = True
            if tables.last_turn(self._cx) > self._waiting[TURN_KEY].after:
                self._wake(TURN_KEY)
        for key in keys:
            if key[0] == "queue":
                self._waiting[key].is_checked = True
                if order.any_claimable(self._cx, self._steady_clock(), key[1:]):
                    self._wake(key)

    def _poll_line(self, keys: list[Key]) -> None:
        """Wake the waiters of sections that have a lease, or are no longer in the line."""
        leased = tables.are_leased(self._cx, [int(key[1]) for key in keys]) if keys else set[int]()
        for key in keys:
            self._waiting[key].is_checked = True
            if int(key[1]) in leased:
                self._wake(key)
