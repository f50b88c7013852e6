"""Retries of calls to a role that does not answer, for as long as the conductor's patience allows."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, TypeVar

from segue_runtime import errors, logs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
FIRST_DELAY_S: Final = 0.2
LONGEST_DELAY_S: Final = 2.0
log = logs.get("conductor")


class Backoff:
    """Delays between tries, each longer than the last, until a limit since the first failure has passed."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._failing_since = 0.0
        self._delay_s = FIRST_DELAY_S
        self.waiting_for = ""
        """The role that failed last, until `reset`; empty if none has."""

    def reset(self) -> None:
        """Start again, after progress."""
        self._failing_since, self._delay_s, self.waiting_for = 0.0, FIRST_DELAY_S, ""

    def next_delay_s(self, error: errors.SegueError) -> float:
        """Return the seconds to wait before the next try; raise the error when the limit has passed."""
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        if now - self._failing_since > self._limit_s:
            self.waiting_for = ""
            raise error
        self.waiting_for = error.metadata.get("service", "")
        delay_s = self._delay_s
        self._delay_s = min(self._delay_s * 2, LONGEST_DELAY_S)
        return delay_s

    async def wait(self, error: errors.SegueError) -> None:
        """Wait before the next try; raise the error when the limit has passed."""
        delay_s = self.next_delay_s(error)
        log.warning("retrying", reason=error.reason, after_s=round(delay_s, 2))
        await asyncio.sleep(delay_s)


async def retry_while_unavailable(work: Callable[[], Awaitable[T]], backoff: Backoff) -> T:
    """Repeat repeatable work while the role that it needs is unavailable."""
    while True:
        try:
            done = await work()
        except errors.Unavailable as error:
            await backoff.wait(error)
        else:
            backoff.reset()
            return done
