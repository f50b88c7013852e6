"""How long to try again, and after which failures."""

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
"""What a server may ask for at most: a slip of its own must not put a client to sleep for a day."""
MAX_DAMAGES: Final = 8
"""So often in a row something damaged may come: then it is not the way but the server."""
STOPPING_LIMIT_S: Final = 120.0
"""Servers that say that they are stopping, or that we were too slow, get this long at least."""
PASSING: Final = frozenset({"READER_TOO_SLOW", "SHUTTING_DOWN"})
TRANSPORT: Final = frozenset(
    {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED}
)
"""Codes that a broken connection can give. Segue's own errors have a reason, so one without was made on the way."""


class Clock(Protocol):
    """Time, so that tests can bring their own."""

    def now(self) -> float:
        """Return seconds on a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class RealClock:
    """The machine's time."""

    def now(self) -> float:
        """Return the monotonic clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class Patience:
    """Waits between tries, longer each time, until `limit_s` have passed without a sign of life."""

    def __init__(self, clock: Clock, limit_s: float) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._wait_s = FIRST_WAIT_S
        self._broken_at: float | None = None
        self._num_damages = 0

    def lives(self) -> None:
        """Note a sign of life."""
        self._broken_at = None

    def moved(self) -> None:
        """Note that something got done."""
        self._broken_at = None
        self._wait_s = FIRST_WAIT_S
        self._num_damages = 0

    async def wait(self, failure: SegueError) -> None:
        """Wait before the next try; raises the failure when there is no use in one."""
        if not passes(failure):
            raise failure
        now = self._clock.now()
        if self._broken_at is None:
            self._broken_at = now
        limit_s = max(self._limit_s, STOPPING_LIMIT_S) if failure.reason in PASSING else self._limit_s
        if is_damage(failure):
            self._num_damages += 1
        if now - self._broken_at > limit_s or self._num_damages > MAX_DAMAGES:
            raise failure
        # By chance up to half of it less: a thousand clients of a restarted server do not come at once.
        wait_s = self._wait_s * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        await self._clock.sleep(max(wait_s, min(failure.retry_after_s or 0.0, LONGEST_ASKED_S)))
        self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_S)


def passes(failure: SegueError) -> bool:
    """Return whether a failure may be over at the next try."""
    return failure.code is grpc.StatusCode.UNAVAILABLE or is_damage(failure)


def is_damage(failure: SegueError) -> bool:
    """Return whether what came cannot have been sent so."""
    return isinstance(failure, DamagedAudio) or (not failure.reason and failure.code in TRANSPORT)
