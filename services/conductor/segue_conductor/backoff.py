"""Tries of work that other roles do: the waits between them, and the end of work that no role survives."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from segue_runtime import errors, logs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from segue_composition.services import Services

T = TypeVar("T")
FIRST_DELAY_S: Final = 0.2
LONGEST_DELAY_S: Final = 2.0
MAX_LOSSES: Final = 3
LOSSES: Final = (errors.RoleLost, errors.DeviceLost)
log = logs.get("conductor")


class Backoff:
    """The tries of one piece of work since its last progress.

    A role that is away is awaited, for a limited time since the first failure. A role that was lost while it did the
    work may have been ended by it: the work is then tried alone, and given up after the third loss.
    """

    def __init__(
        self, limit_s: float, services: Services, work: str, metadata: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._limit_s = limit_s
        self._store = services.store
        self._seen = services.roles_seen
        self._work = work
        self._metadata = metadata
        self._failing_since = 0.0
        self._delay_s = FIRST_DELAY_S
        self._lost_role = ""
        self._turn = contextlib.AsyncExitStack()
        self.num_losses = 0
        """How often a role was lost while it did the work."""
        self.waiting_for = ""
        """The role that failed last, until the next progress; empty if none has."""

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Enter a try. Work that was lost together is tried one after another: only the guilty one is lost again.

        This holds for all conductors of the store, until the end of the block or the first progress.
        """
        async with contextlib.AsyncExitStack() as self._turn:
            if self.num_losses:
                await self._turn.enter_async_context(self._store.exclusive(f"lost-{self._lost_role}"))
            yield

    async def progressed(self) -> None:
        """Start again: the work has come further, and leaves its turn to others."""
        self.answered()
        self.num_losses = 0
        await self._turn.aclose()

    def answered(self) -> None:
        """Note that the awaited role is back: the limit begins again, for all work of this process."""
        self._seen[self.waiting_for] = time.monotonic()
        self._failing_since, self.waiting_for = 0.0, ""

    def next_delay_s(self, error: errors.Unavailable) -> float:
        """Return the seconds to wait before the next try.

        Raises the error when the limit has passed, and TooManyTries after the last loss.
        """
        if isinstance(error, LOSSES):
            return self._delay_after_loss(error)
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        # The role may have been back, and lost again in other work before this work had its turn.
        seen = self._seen.get(error.metadata.get("service", ""), 0.0)
        if now - max(self._failing_since, seen) > self._limit_s:
            self.waiting_for = ""
            raise error
        self.waiting_for = error.metadata.get("service", "")
        delay_s = self._delay_s
        self._delay_s = min(self._delay_s * 2, LONGEST_DELAY_S)
        return delay_s

    def _delay_after_loss(self, error: errors.Unavailable) -> float:
        self.answered()  # the role was there
        self._lost_role = role = error.metadata.get("service", "renderer")
        self._seen[role] = time.monotonic()
        self.num_losses += 1
        address = error.metadata.get("address", "")
        fields = {"role": role, "address": address, "work": self._work, "num_losses": self.num_losses}
        log.warning("a role was lost at work", **fields, error=error.message)
        if self.num_losses >= MAX_LOSSES:
            raise errors.TooManyTries(
                f"the {role} was lost {self.num_losses} times while it worked on {self._work}, which is not tried "
                f"again; see the {role}'s log; the last time{address and f' at {address}'}: {error.message}",
                metadata={"service": role, **self._metadata, **({"address": address} if address else {})},
            ) from error
        return FIRST_DELAY_S * 2.0**self.num_losses

    async def wait(self, error: errors.Unavailable) -> None:
        """Wait before the next try; raise an error when there is none."""
        delay_s = self.next_delay_s(error)
        log.warning("retrying", reason=error.reason, work=self._work, after_s=round(delay_s, 2))
        await asyncio.sleep(delay_s)


async def retry_while_unavailable(work: Callable[[], Awaitable[T]], backoff: Backoff) -> T:
    """Repeat repeatable work while the role that it needs is unavailable."""
    while True:
        try:
            async with backoff.turn():
                done = await work()
        except errors.Unavailable as error:
            await backoff.wait(error)
        else:
            await backoff.progressed()
            return done
