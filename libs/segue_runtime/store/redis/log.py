"""The event log of each job in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue_runtime.store.notifier import log_key
from segue_runtime.store.owners.records import Delivered
from segue_runtime.store.records import Progress, RowMark, new_stamp
from segue_runtime.store.redis.rows import event_of, flat_events, option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_runtime.store.caches import ProgressCache
    from segue_runtime.store.records import Event, NewEvent
    from segue_runtime.store.redis.notifier import RedisNotifier
    from segue_runtime.store.redis.scripts import RedisScripts


class RedisLog:
    """Log documents the methods."""

    _scripts: RedisScripts
    notifier: RedisNotifier
    _progress: ProgressCache
    _retention_s: float

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
        stamp, left = new_stamp(), delivered or Delivered()
        # The stamp makes a repetition safe: the function knows the rows that it has written.
        await self._scripts.call(
            "log", "append",
            name, epoch, after.sequence, after.stamp, stamp, option(self._retention_s if terminal else None),
            option(resource), option(state), option(checkpoint), float(left.audio_s), left.stored_bytes,
            *flat_events(events),
            repeats=True,
        )  # fmt: skip
        return RowMark(after.sequence + len(events), stamp) if events else after

    async def read(self, name: str, after: int, limit: int = 256, *, stamp: int = 0) -> Sequence[Event]:
        heard = self.notifier.heard.read(name, RowMark(after, stamp), limit)
        if heard:
            return heard
        (entries,) = await self._scripts.call("log", "read", name, after, limit, stamp, repeats=True)
        return [event_of(entry) for entry in entries]

    async def wait(self, name: str, after: int, timeout_s: float) -> bool:
        return await self.notifier.wait(log_key(name), timeout_s, after)

    async def set_progress(self, name: str, epoch: int, payload: bytes) -> None:
        (version,) = await self._scripts.call("log", "set_progress", name, epoch, payload, repeats=True)
        self._progress.put(name, Progress(int(version), payload))

    async def progress(self, name: str) -> Progress:
        known = self._progress.get(name)
        if known is None:
            version, payload = await self._scripts.call("log", "progress", name, repeats=True)
            known = Progress(int(version), payload)
            self._progress.put(name, known)
        return known
