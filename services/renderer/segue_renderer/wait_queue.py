"""The queue for a backend's slots. Waiting callers receive their position at once and then every second."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from segue_renderer.scheduler import Scheduler, Ticket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

INTERVAL_S: Final = 1.0
OVERTAKES_PER_SLOT: Final = 4
"""How many later requests for each slot may go before an earlier one, for fairness between owners."""


async def queue_positions(position: Callable[[], int], begun: asyncio.Event) -> AsyncIterator[int]:
    """Yield the position every second, until the request has begun."""
    while not begun.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(begun.wait(), INTERVAL_S)
        if (current := position()) and not begun.is_set():
            yield current


class WaitQueue:
    """The slots of a backend that runs on the event loop, and the requests that wait for them."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._scheduler = Scheduler(slots, max_overtaken=OVERTAKES_PER_SLOT * slots)
        self._begun: dict[Ticket, asyncio.Event] = {}

    @property
    def busy(self) -> int:
        """The number of slots in use."""
        return len(self._scheduler.running)

    @property
    def queued(self) -> int:
        """The number of waiting requests."""
        return len(self._scheduler.waiting)

    @contextlib.contextmanager
    def enter(self, owner: str) -> Iterator[QueuePosition]:
        """Wait in the queue, then hold a slot, until the block is left."""
        ticket, begun = Ticket(owner), asyncio.Event()
        self._begun[ticket] = begun
        self._scheduler.submit(ticket)
        self._admit()
        try:
            yield QueuePosition(self._scheduler, ticket, begun)
        finally:
            self._scheduler.leave(ticket)
            del self._begun[ticket]
            self._admit()

    def _admit(self) -> None:
        while (ticket := self._scheduler.admit()) is not None:
            self._begun[ticket].set()


class QueuePosition:
    """The position of one request."""

    def __init__(self, scheduler: Scheduler, ticket: Ticket, begun: asyncio.Event) -> None:
        self._scheduler, self._ticket, self._begun = scheduler, ticket, begun

    @property
    def current(self) -> int:
        """The position, from 1; 0 when the request has a slot."""
        return self._scheduler.position(self._ticket)

    def updates(self) -> AsyncIterator[int]:
        """Yield the position every second, until the request has a slot."""
        return queue_positions(lambda: self.current, self._begun)
