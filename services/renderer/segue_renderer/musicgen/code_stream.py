"""A window as a job for the engine, and the stream that carries its codes to the caller's event loop."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from segue_renderer.scheduler import Ticket
from segue_renderer.wait_queue import queue_positions
from segue_runtime import scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue_renderer.musicgen.policy.delay_pattern import Codes
    from segue_renderer.musicgen.runner import Conditions, SamplingParams


@dataclass(frozen=True)
class WindowJob:
    """One window to generate."""

    conditions: Conditions
    prompt: Codes
    """Known frames (codebooks, frames) that come before the new ones."""
    new_frames: int
    sampling: SamplingParams
    owner: str = ""


class StreamSource(Protocol):
    """The methods of the engine that a stream uses."""

    def queue_position(self, ticket: Ticket) -> int:
        """Return a ticket's position in the queue."""
        ...

    def cancel(self, stream: CodeStream) -> None:
        """Remove a stream's job before the next step."""
        ...


class CodeStream:
    """The codes of a job as they are generated. It is read on the event loop that submitted the job."""

    def __init__(self, source: StreamSource, job: WindowJob) -> None:
        self.job = job
        self.ticket = Ticket(job.owner)
        here = scope.current()
        self.request_id = here.request_id if here else ""
        """The engine's thread has no scope of its own."""
        self.sent_frames = 0
        self.column = 0
        self.num_put = self.num_decoded = 0
        """Frames that were generated, and those of them that are audio by now."""
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Codes | BaseException | None] = asyncio.Queue()
        self._begun = asyncio.Event()

    def queue_position(self) -> int:
        """Return the position in the queue, from 1; 0 when the job has a slot or will have one at once."""
        return self._source.queue_position(self.ticket)

    def queue_positions(self) -> AsyncIterator[int]:
        """Yield the position every second, until the job has a slot or has failed."""
        return queue_positions(self.queue_position, self._begun)

    async def __aiter__(self) -> AsyncIterator[Codes]:
        while (item := await self._arrived.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def cancel(self) -> None:
        """Leave the batch before the next step."""
        self._source.cancel(self)

    # Called on the engine's thread. The event loop may have ended by then; the stream has no reader in that case.

    def begin(self) -> None:
        """Report that the job has a slot."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._begun.set)

    def put(self, item: Codes | BaseException | None) -> None:
        """Add codes, an error, or None for the end. It also ends the wait for a slot."""
        self.begin()
        self.num_put += item.shape[1] if isinstance(item, np.ndarray) else 0
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._arrived.put_nowait, item)
