"""Retries of calls to a role that is unavailable: the limit is the time that a process needs to restart."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, TypeVar

from segue_runtime import errors, logs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
LIMIT_S: Final = 30.0
FIRST_DELAY_S: Final = 0.2
LONGEST_DELAY_S: Final = 2.0
log = logs.get("conductor")


class Backoff:
    """Delays between tries, each longer than the last, until a limit since the first failure has passed."""

    def __init__(self) -> None:
        self._failing_since = 0.0
        self._delay_s = FIRST_DELAY_S

    def reset(self) -> None:
        """Start again, after progress."""
        self._failing_since, self._delay_s = 0.0, FIRST_DELAY_S

    def next_delay_s(self) -> float | None:
        """Return the seconds to wait before the next try; None when the limit has passed."""
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        if now - self._failing_since > LIMIT_S:
            return None
        delay_s = self._delay_s
        self._delay_s = min(self._delay_s * 2, LONGEST_DELAY_S)
        return delay_s

    async def wait(self, error: errors.SegueError) -> None:
        """Wait before the next try; raise the error when the limit has passed."""
        delay_s = self.next_delay_s()
        if delay_s is None:
            raise error
        log.warning("retrying", reason=error.reason, after_s=round(delay_s, 2))
        await asyncio.sleep(delay_s)


async def retry_while_unavailable(work: Callable[[], Awaitable[T]]) -> T:
    """Repeat repeatable work while the role that it needs is unavailable."""
    backoff = Backoff()
    while True:
        try:
            return await work()
        except errors.Unavailable as error:
            await backoff.wait(error)
