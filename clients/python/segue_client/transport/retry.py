"""Which failures are retried, how often and for how long."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Final, Protocol

import grpc

from segue_client.errors import DamagedAudio, SegueError

FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 10.0
LONGEST_ASKED_S: Final = 60.0
"""Longest wait that a server may ask for: a fault there must not stop a client for a day."""
MAX_DAMAGED: Final = 8
"""Retries after damaged messages in a row; more than that is a fault of the server and not of the network."""
STOPPING_LIMIT_S: Final = 120.0
"""Shortest retry limit after the reasons in STOPPING."""
STOPPING: Final = frozenset({"READER_TOO_SLOW", "SHUTTING_DOWN"})
TRANSPORT: Final = frozenset(
    {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED}
)
"""Codes of a broken connection. Segue's own errors have a reason: an error without one comes from the network."""


class Clock(Protocol):
    """A source of time, so that tests can replace it."""

    def now(self) -> float:
        """Return the seconds of a monotonic clock."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        ...


class RealClock:
    """The time of this machine."""

    def now(self) -> float:
        """Return the seconds of the monotonic clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)


class RetryBackoff:
    """Waits between retries, longer each time, until `limit_s` have passed without a message from the server."""

    def __init__(self, clock: Clock, limit_s: float) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._wait_s = FIRST_WAIT_S
        self._broken_at: float | None = None
        self._num_damaged = 0

    def record_message(self) -> None:
        """Record that the server sent a message."""
        self._broken_at = None

    def record_progress(self) -> None:
        """Record progress: the next wait is short again."""
        self._broken_at = None
        self._wait_s = FIRST_WAIT_S
        self._num_damaged = 0

    async def wait(self, failure: SegueError) -> None:
        """Wait before the next retry; raises the failure when a retry is of no use."""
        if not is_temporary(failure):
            raise failure
        now = self._clock.now()
        if self._broken_at is None:
            self._broken_at = now
        limit_s = max(self._limit_s, STOPPING_LIMIT_S) if failure.reason in STOPPING else self._limit_s
        if is_damage(failure):
            self._num_damaged += 1
        if now - self._broken_at > limit_s or self._num_damaged > MAX_DAMAGED:
            raise failure
        # Jitter: the clients of a restarted server must not return all at once.
        wait_s = self._wait_s * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
        await self._clock.sleep(max(wait_s, min(failure.retry_after_s or 0.0, LONGEST_ASKED_S)))
        self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_S)


def is_temporary(failure: SegueError) -> bool:
    """Return whether a retry may succeed."""
    return failure.code is grpc.StatusCode.UNAVAILABLE or is_damage(failure)


def is_damage(failure: SegueError) -> bool:
    """Return whether the network damaged a message or broke the connection."""
    return isinstance(failure, DamagedAudio) or (not failure.reason and failure.code in TRANSPORT)
