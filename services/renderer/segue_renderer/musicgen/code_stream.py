"""A job for the engine, and its codes on their way to the event loop that asked."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segue_renderer.scheduler import Ticket
from segue_renderer.wait_queue import places

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue_renderer.musicgen.engine import Engine
    from segue_renderer.musicgen.policy.delay_pattern import Codes
    from segue_renderer.musicgen.runner import Conditions, Sampling


@dataclass(frozen=True)
class Job:
    """One window to play."""

    conditions: Conditions
    prompt: Codes
    """Known frames (codebooks, frames), heard first."""
    new_frames: int
    sampling: Sampling
    owner: str = ""


class Stream:
    """The codes of a job as they come, on the event loop that asked."""

    def __init__(self, engine: Engine, job: Job) -> None:
        self.job = job
        self.ticket = Ticket(job.owner)
        self.sent_frames = 0
        self.column = 0
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Codes | BaseException | None] = asyncio.Queue()
        self._begun = asyncio.Event()

    def place(self) -> int:
        """Its place in the line, from 1; 0 when it has a slot or will have one at once."""
        return self._engine.place(self.ticket)

    def in_line(self) -> AsyncIterator[int]:
        """Give its place from time to time, until it has a slot or has failed."""
        return places(self.place, self._begun)

    async def __aiter__(self) -> AsyncIterator[Codes]:
        while (item := await self._arrived.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def cancel(self) -> None:
        """Leave the batch before the next step."""
        self._engine.cancel(self)

    # for the engine's thread; a loop that has ended wants nothing any more

    def begin(self) -> None:
        """Say that it has a slot."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._begun.set)

    def put(self, item: Codes | BaseException | None) -> None:
        """Hand something over; who waits in the line for nothing more is told, too."""
        self.begin()
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._arrived.put_nowait, item)
