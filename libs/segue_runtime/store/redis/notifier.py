"""Wakes waiters by the server's messages, and by polling as a safety net: a lost message costs time, never an event.

The message about new rows of a log has the rows, if they are small, so that a waiting reader need not ask for them.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from segue_runtime import logs
from segue_runtime.errors import SegueError
from segue_runtime.store.caches import HeardRows
from segue_runtime.store.notifier import TURN_KEY, WaitersByKey, log_key
from segue_runtime.store.records import Event, RowMark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_runtime.store.notifier import Key
    from segue_runtime.store.redis.scripts import RedisScripts

POLL_S: Final = 1.0
SUBSCRIBE_AGAIN_S: Final = 0.5
CANCEL_AGAIN_S: Final = 0.2
NUM_LOG_FIELDS: Final = 6
"""The name, the last sequence, the stamp of the row before the new ones, their stamp, their time, and the rows."""
log = logs.get("store")


class RedisNotifier(WaitersByKey):
    """Wakes the waiters of one store. One subscription and one poll serve all of them."""

    def __init__(self, scripts: RedisScripts, poll_s: float = POLL_S) -> None:
        super().__init__()
        self.heard = HeardRows()
        self._scripts = scripts
        self._poll_s = poll_s
        self._has_new = asyncio.Event()
        self._has_waiters = asyncio.Event()
        self._failures = logs.BoundedLog(log)
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._poll_always())]

    async def close(self) -> None:
        """Wake all waiters, stop listening and polling."""
        self._wake_all()
        while pending := [task for task in self._tasks if not task.done()]:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)  # the client loses one that comes while it connects

    def _begin_polling(self) -> None:
        self._has_new.set()
        self._has_waiters.set()

    async def _listen(self) -> None:
        from redis.exceptions import RedisError

        channel = f"segue:{self._scripts.store_id}"
        while True:
            try:
                async with self._scripts.client.pubsub(ignore_subscribe_messages=True) as messages:
                    await messages.subscribe(channel)
                    self._has_new.set()  # what happened before the subscription rang no bell here
                    while True:
                        message = await messages.get_message(timeout=None)
                        if message is not None:
                            self._hear(message["data"])
            except (RedisError, OSError) as error:
                self.heard.drop_all()  # another server may have other rows
                self._failures.warning("waiting for the messages of Redis", reason=type(error).__name__)
                await asyncio.sleep(SUBSCRIBE_AGAIN_S)

    def _hear(self, message: bytes) -> None:
        what, _, rest = message.partition(b"\0")
        if what == b"log":
            self._hear_of_log(*rest.split(b"\0", NUM_LOG_FIELDS - 1))
            return
        bell = message.decode().split("\0")
        if what != b"queue":
            self.notify(tuple(bell))
            return
        for key in [key for key in self._waiting if key[0] == "queue" and (bell[1] in key[1:] or not key[1:])]:
            self.notify(key)

    def _hear_of_log(self, name_bytes: bytes, last: bytes = b"", *message: bytes) -> None:
        """Wake the waiters for rows after those that they have; without a last row the log is deleted."""
        name = name_bytes.decode()
        key = log_key(name)
        entry = self._waiting.get(key)
        if not last:
            self.heard.drop(name)
            self.notify(key)
            return
        if message and (entry is not None or self.heard.knows(name)):
            self.heard.put(name, *_rows_of(int(last), *message))
        if entry is not None and int(last) > entry.after:
            self.notify(key)

    async def _poll_always(self) -> None:
        loop = asyncio.get_running_loop()
        last_poll = loop.time()
        while True:
            await self._has_waiters.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(last_poll + self._poll_s):
                    await self._has_new.wait()
            self._has_new.clear()
            if not self._waiting:
                self._has_waiters.clear()
                continue
            is_full = loop.time() >= last_poll + self._poll_s
            last_poll = loop.time() if is_full else last_poll
            try:
                await self._poll([key for key, entry in self._waiting.items() if is_full or not entry.is_checked])
            except SegueError as error:  # the next poll may succeed; waiters must not hang
                self._failures.warning("polling Redis failed", reason=error.reason)
                await asyncio.sleep(SUBSCRIBE_AGAIN_S)
            except Exception:
                log.exception("polling Redis failed")
                await asyncio.sleep(SUBSCRIBE_AGAIN_S)

    async def _poll(self, keys: list[Key]) -> None:
        """Wake the waiters whose condition holds in what is stored."""
        if not keys:
            return
        entries = {key: self._waiting[key] for key in keys}
        for entry in entries.values():
            entry.is_checked = True
        named = [key for key in keys if key[0] in {"log", "cancel"}]
        line = [key for key in keys if key[0] == "line"]
        names = [key[1] for key in named]
        states, left, queues, turn = await self._scripts.call(
            "queue", "poll", len(names), *names, *(key[1] for key in line), repeats=True
        )
        for key, state in zip(named, states, strict=True):
            if _is_over(key, entries[key].after, state):
                self._wake_if(key, entries[key])
        for key, is_over in zip(line, left, strict=True):
            if is_over == b"1":
                self._wake_if(key, entries[key])
        claimable = {kind.decode() for kind in queues}
        for key in keys:
            if key[0] == "queue" and claimable and (not key[1:] or claimable.intersection(key[1:])):
                self._wake_if(key, entries[key])
        if TURN_KEY in entries and int(turn) > entries[TURN_KEY].after:
            self._wake_if(TURN_KEY, entries[TURN_KEY])

    def _wake_if(self, key: Key, entry: object) -> None:
        """Wake the waiters that were asked for: others may have come for the same key meanwhile."""
        if self._waiting.get(key) is entry:
            self._wake(key)


def _rows_of(
    last: int, after_stamp: bytes, stamp: bytes, time: bytes, packed: bytes
) -> tuple[RowMark, Sequence[Event]]:
    """Unpack the rows of a message: of each the kind, the number of its bytes, and these."""
    found: list[tuple[str, bytes]] = []
    while packed:
        kind, num_bytes, packed = packed.split(b"\0", 2)
        found.append((kind.decode(), packed[: int(num_bytes)]))
        packed = packed[int(num_bytes) :]
    after = last - len(found)
    rows = [
        Event(sequence, float(time), kind, payload, int(stamp))
        for sequence, (kind, payload) in enumerate(found, start=after + 1)
    ]
    return RowMark(after, int(after_stamp)), rows


def _is_over(key: Key, after: int, state: list[Any]) -> bool:
    last_sequence, is_ending = int(state[0]), state[1] == b"1"
    if last_sequence < 0:
        return True  # it is deleted: the next read raises the error
    return is_ending if key[0] == "cancel" else last_sequence != after and (last_sequence > after or is_ending)
