"""The line before a backend's slots: who waits in it hears its place at once, and every second after."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from segue_renderer.scheduler import Scheduler, Ticket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

INTERVAL_S: Final = 1.0
PATIENCE: Final = 4
"""How many for each slot may go before one that came earlier, for fairness between owners."""


async def places(number: Callable[[], int], begun: asyncio.Event) -> AsyncIterator[int]:
    """Give a place from time to time, until whoever has it has begun."""
    while not begun.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(begun.wait(), INTERVAL_S)
        if (place := number()) and not begun.is_set():
            yield place


class Line:
    """The slots of a backend whose work is shared out on the event loop itself."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._scheduler = Scheduler(slots, max_overtaken=PATIENCE * slots)
        self._begun: dict[Ticket, asyncio.Event] = {}

    @property
    def busy(self) -> int:
        """How many slots are taken."""
        return len(self._scheduler.running)

    @property
    def queued(self) -> int:
        """How many wait."""
        return len(self._scheduler.waiting)

    @contextlib.contextmanager
    def join(self, owner: str) -> Iterator[Place]:
        """Stand in the line, and then in a slot, until the block is left."""
        ticket, begun = Ticket(owner), asyncio.Event()
        self._begun[ticket] = begun
        self._scheduler.submit(ticket)
        self._admit()
        try:
            yield Place(self._scheduler, ticket, begun)
        finally:
            self._scheduler.leave(ticket)
            del self._begun[ticket]
            self._admit()

    def _admit(self) -> None:
        while (ticket := self._scheduler.admit()) is not None:
            self._begun[ticket].set()


class Place:
    """Where one caller stands."""

    def __init__(self, scheduler: Scheduler, ticket: Ticket, begun: asyncio.Event) -> None:
        self._scheduler, self._ticket, self._begun = scheduler, ticket, begun

    @property
    def number(self) -> int:
        """Its place in the line, from 1; 0 when it has a slot."""
        return self._scheduler.position(self._ticket)

    def in_line(self) -> AsyncIterator[int]:
        """Give its place from time to time, until it has a slot."""
        return places(lambda: self.number, self._begun)
