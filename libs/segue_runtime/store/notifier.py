"""How waiters learn of commits: a bell for this process, and a look at the file for the others.

A ring is only a hint. Whoever waits is checked against committed rows within 20 ms of beginning to wait, after each
commit of any process (`PRAGMA data_version`), and once a second in any case: a lost ring costs time, never an event.
The look is one query for all waiters together, and it happens only while somebody waits.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segue_runtime import logs
from segue_runtime.store import events

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

POLL_S = 0.02
LOOK_S = 1.0
Key = tuple[str, ...]
log = logs.get("store")


def log_key(name: str) -> Key:
    """The bell of a job's log."""
    return ("log", name)


def cancel_key(name: str) -> Key:
    """The bell of a job's end that somebody asked for."""
    return ("cancel", name)


def queue_key(kinds: Iterable[str]) -> Key:
    """The bell of jobs that can be claimed."""
    return ("queue", *sorted(kinds))


@dataclass(slots=True)
class Waiters:
    """All who wait for the same bell; `after` is the least sequence that one of them has."""

    notified: asyncio.Future[None]
    after: int
    num_waiters: int = 0
    is_checked: bool = False


class Notifier:
    """One per process and store. `cx` is a connection of its own, used on the event loop: it reads in microseconds."""

    def __init__(self, cx: sqlite3.Connection, clock: Callable[[], float]) -> None:
        self._cx = cx
        self._clock = clock
        self._waiting: dict[Key, Waiters] = {}
        self._watch: asyncio.Task[None] | None = None

    def notify(self, key: Key) -> None:
        """Tell this process's waiters, after a commit."""
        self._wake(key)

    def notify_queue(self) -> None:
        """Tell all who wait for jobs, whatever their kinds."""
        for key in [key for key in self._waiting if key[0] == "queue"]:
            self.notify(key)

    async def wait(self, key: Key, timeout_s: float, after: int = 0) -> bool:
        """Wait for a ring; false when time ran out."""
        entry = self._waiting.get(key)
        if entry is None:
            entry = self._waiting[key] = Waiters(asyncio.get_running_loop().create_future(), after)
        entry.num_waiters += 1
        entry.after = min(entry.after, after)
        entry.is_checked = False
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._run())
        try:
            done, _ = await asyncio.wait({entry.notified}, timeout=max(0.0, timeout_s))
        finally:
            entry.num_waiters -= 1
            if entry.num_waiters == 0 and self._waiting.get(key) is entry:
                del self._waiting[key]
        return bool(done)

    async def close(self) -> None:
        """Wake everybody and end."""
        for key in list(self._waiting):
            self._wake(key)
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        self._cx.close()

    def _wake(self, key: Key) -> None:
        entry = self._waiting.pop(key, None)
        if entry is not None and not entry.notified.done():
            entry.notified.set_result(None)

    async def _run(self) -> None:
        """Look while somebody waits, and a second longer."""
        loop = asyncio.get_running_loop()
        version, last_look, last_waiter = None, loop.time(), loop.time()
        # Who came while this slept relies on it: nobody else looks for them.
        while self._waiting or loop.time() - last_waiter < LOOK_S:
            try:
                seen = self._cx.execute("PRAGMA data_version").fetchone()[0]
                if seen != version or loop.time() - last_look >= LOOK_S:
                    version, last_look = seen, loop.time()
                    self._look(list(self._waiting))
                else:
                    self._look([key for key, entry in self._waiting.items() if not entry.is_checked])
            except Exception:  # the next look may succeed; waiters must not hang
                log.exception("look failed")
            if self._waiting:
                last_waiter = loop.time()
            await asyncio.sleep(POLL_S)

    def _look(self, keys: list[Key]) -> None:
        """Compare waiters with committed rows."""
        named = [key for key in keys if key[0] != "queue"]
        standing = events.standing(self._cx, [key[1] for key in named]) if named else {}
        for key in named:
            entry = self._waiting[key]
            entry.is_checked = True
            # A job that is gone wakes its waiters too: their next read tells them.
            last_sequence, is_ending = standing.get(key[1], (entry.after + 1, True))
            if is_ending if key[0] == "cancel" else last_sequence > entry.after:
                self._wake(key)
        for key in keys:
            if key[0] == "queue":
                self._waiting[key].is_checked = True
                if events.any_claimable(self._cx, self._clock(), key[1:]):
                    self._wake(key)
