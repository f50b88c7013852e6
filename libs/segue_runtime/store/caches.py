"""What watchers of one process share: the newest rows of logs, and progress. Caches, never the truth."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_runtime.store.records import Event, Progress

MAX_LOGS = 128
MAX_BYTES = 1 << 20
PROGRESS_AGE_S = 0.4


@dataclass(slots=True)
class LogTail:
    """Contiguous rows."""

    rows: deque[Event] = field(default_factory=deque)
    num_bytes: int = 0

    @property
    def last(self) -> int:
        """The newest sequence that is here."""
        return self.rows[-1].sequence if self.rows else 0


class EventCache:
    """The tails of the logs that were read last."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._tails: OrderedDict[str, LogTail] = OrderedDict()

    def read(self, name: str, after: int, limit: int) -> list[Event]:
        """Return rows after a sequence when all of them down to it are here; else nothing, which says nothing."""
        tail = self._tails.get(name)
        if tail is None or not tail.rows:
            return []
        self._tails.move_to_end(name)
        start = after + 1 - tail.rows[0].sequence
        return list(islice(tail.rows, start, start + limit)) if start >= 0 else []

    def add_committed(self, name: str, rows: Sequence[Event]) -> None:
        """Take rows that were just committed, when somebody reads this log."""
        if name in self._tails:
            self._extend(self._tails[name], rows)

    def add_read(self, name: str, after: int, rows: Sequence[Event], limit: int) -> None:
        """Take rows that were read from the table, when they reach the end of the log or continue what is here."""
        tail = self._tails.get(name)
        if len(rows) < limit or (tail is not None and tail.last == after):
            if tail is None:
                tail = self._tails[name] = LogTail()
                while len(self._tails) > MAX_LOGS:
                    self._tails.popitem(last=False)
            self._extend(tail, rows)

    def drop(self, name: str) -> None:
        """Forget a log."""
        self._tails.pop(name, None)

    def _extend(self, tail: LogTail, rows: Sequence[Event]) -> None:
        for row in rows:
            if tail.rows and row.sequence <= tail.last:
                continue
            if tail.rows and row.sequence != tail.last + 1:
                tail.rows.clear()
                tail.num_bytes = 0
            tail.rows.append(row)
            tail.num_bytes += len(row.payload)
            while len(tail.rows) > self._max_rows or (tail.num_bytes > MAX_BYTES and len(tail.rows) > 1):
                tail.num_bytes -= len(tail.rows.popleft().payload)


class ProgressCache:
    """Where the work of each watched job is, as it was at most PROGRESS_AGE_S ago."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, Progress]] = OrderedDict()

    def get(self, name: str) -> Progress | None:
        """Return what is known and fresh."""
        at, progress = self._known.get(name, (0.0, None))
        return progress if time.monotonic() - at <= PROGRESS_AGE_S else None

    def put(self, name: str, progress: Progress) -> None:
        """Note what was said or read; what was read before something newer was said comes too late."""
        _, known = self._known.get(name, (0.0, None))
        if known is not None and known.version > progress.version:
            return
        self._known[name] = (time.monotonic(), progress)
        self._known.move_to_end(name)
        while len(self._known) > MAX_LOGS:
            self._known.popitem(last=False)

    def drop(self, name: str) -> None:
        """Forget a job."""
        self._known.pop(name, None)
