"""Caches that the watchers of one process share: the newest rows of logs, rows from messages, and progress."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_runtime.store.records import Event, Progress, RowMark

MAX_LOGS = 128
MAX_BYTES = 1 << 20
PROGRESS_AGE_S = 0.4
HEARD_AGE_S = 1.0


@dataclass(slots=True)
class LogTail:
    """The newest rows of one log, without a gap."""

    rows: deque[Event] = field(default_factory=deque)
    num_bytes: int = 0

    @property
    def last(self) -> int:
        """The newest cached sequence, or 0."""
        return self.rows[-1].sequence if self.rows else 0


class EventCache:
    """The newest rows of the logs that were read last."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._tails: OrderedDict[str, LogTail] = OrderedDict()

    def read(self, name: str, after: int, limit: int, stamp: int) -> list[Event]:
        """Return the rows after a sequence if all of them are cached; else an empty list, which means nothing.

        With the stamp of the row at `after`, that row must be cached too.
        """
        tail = self._tails.get(name)
        if tail is None or not tail.rows:
            return []
        self._tails.move_to_end(name)
        start = after + 1 - tail.rows[0].sequence
        if not 0 <= start < len(tail.rows) or (stamp and (start == 0 or tail.rows[start - 1].stamp != stamp)):
            return []
        return list(islice(tail.rows, start, start + limit))

    def add_committed(self, name: str, rows: Sequence[Event]) -> None:
        """Add rows that were just committed, if this log has readers."""
        if name in self._tails:
            self._extend(self._tails[name], rows)

    def add_read(self, name: str, after: int, rows: Sequence[Event], limit: int) -> None:
        """Add rows that were read from the table, if they reach the end of the log or continue the cached rows."""
        tail = self._tails.get(name)
        if len(rows) < limit or (tail is not None and tail.last == after):
            if tail is None:
                tail = self._tails[name] = LogTail()
                while len(self._tails) > MAX_LOGS:
                    self._tails.popitem(last=False)
            self._extend(tail, rows)

    def drop(self, name: str) -> None:
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


class HeardRows:
    """The rows of the last message about each log that has waiters here, for about as long as a reader needs to wake.

    They are committed, but a failover can lose them. So only a reader that knows the row before them by its stamp gets
    them: what it reads next is compared in the same way.
    """

    def __init__(self) -> None:
        self._heard: OrderedDict[str, tuple[float, RowMark, Sequence[Event]]] = OrderedDict()

    def knows(self, name: str) -> bool:
        """Tell whether a log had rows a moment ago: its readers are probably between two waits."""
        found = self._heard.get(name)
        return found is not None and time.monotonic() - found[0] <= HEARD_AGE_S

    def put(self, name: str, after: RowMark, rows: Sequence[Event]) -> None:
        """Keep the rows of a message, and the mark of the row that they follow."""
        self._heard[name] = (time.monotonic(), after, rows)
        self._heard.move_to_end(name)
        while len(self._heard) > MAX_LOGS:
            self._heard.popitem(last=False)

    def read(self, name: str, after: RowMark, limit: int) -> Sequence[Event]:
        """Return the rows after a row; an empty list means nothing."""
        found = self._heard.get(name)
        if found is None or not after.stamp or found[1] != after or not self.knows(name):
            return []
        return found[2][:limit]

    def drop(self, name: str) -> None:
        self._heard.pop(name, None)

    def drop_all(self) -> None:
        self._heard.clear()


class ProgressCache:
    """The progress of each watched job, at most PROGRESS_AGE_S old."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, Progress]] = OrderedDict()

    def get(self, name: str) -> Progress | None:
        """Return the progress, or None when it is unknown or too old."""
        at, progress = self._known.get(name, (0.0, None))
        return progress if time.monotonic() - at <= PROGRESS_AGE_S else None

    def put(self, name: str, progress: Progress) -> None:
        """Keep a progress that was written or read, unless a newer one is known."""
        _, known = self._known.get(name, (0.0, None))
        if known is not None and known.version > progress.version:
            return
        self._known[name] = (time.monotonic(), progress)
        self._known.move_to_end(name)
        while len(self._known) > MAX_LOGS:
            self._known.popitem(last=False)

    def drop(self, name: str) -> None:
        self._known.pop(name, None)
