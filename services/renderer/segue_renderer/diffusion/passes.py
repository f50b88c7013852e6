"""Passes through a model's steps: one section each, or several that fit into one batch."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from segue_renderer.diffusion.families.pipeline import RenderStopped
from segue_renderer.wait_queue import queue_positions
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

    from segue_renderer.diffusion.section_render import WindowRender

    RunPass = Callable[[Sequence["DenoiseRow"]], Awaitable[None]]

GATHER_S: Final = 0.05
"""How long a section waits for others: those of a piece come one after the other."""
PROGRESS_INTERVAL_S: Final = 0.1


class DenoiseRow:
    """A section's steps on the thread: their progress for the event loop, and their end when the caller is gone."""

    def __init__(self, section: WindowRender) -> None:
        self.section = section
        self.is_stopped = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.begun = asyncio.Event()
        """Set when its pass begins."""
        self.left = asyncio.Event()
        """Set when the section has its audio, or its caller is gone."""
        self._loop = asyncio.get_running_loop()
        self._fractions: asyncio.Queue[float | None] = asyncio.Queue()
        self.done.add_done_callback(lambda _: self._fractions.put_nowait(None))

    def report(self, done: int, of: int) -> None:
        """Take the progress, on the thread."""
        self._loop.call_soon_threadsafe(self._fractions.put_nowait, done / of)

    async def fractions(self) -> AsyncGenerator[float, None]:
        """Yield the part of the steps that is done, at most ten times a second, until they have ended."""
        reported = time.monotonic()
        while (fraction := await self._fractions.get()) is not None:
            if time.monotonic() - reported >= PROGRESS_INTERVAL_S:
                reported = time.monotonic()
                yield fraction

    def leave(self) -> None:
        """Let the next pass begin. Steps that have not ended end before their next one, in a batch with the last."""
        self.is_stopped = True
        self.done.cancel()
        self.left.set()

    def end(self, error: BaseException | None = None) -> None:
        """Let the caller know that the steps have ended."""
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class DenoisePasses:
    """Collects sections into passes. `run` takes the steps of one pass, which has at most `most` sections."""

    def __init__(self, most: int, run: RunPass) -> None:
        self._most = most
        self._run = run
        self._waiting: list[DenoiseRow] = []
        self._task: asyncio.Task[None] | None = None

    def join(self, steps: DenoiseRow) -> None:
        """Add a section to the next pass that it fits into."""
        self._waiting.append(steps)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    @property
    def num_waiting(self) -> int:
        """The number of sections whose pass has not begun."""
        return len(self._waiting)

    def positions(self, steps: DenoiseRow) -> AsyncIterator[int]:
        """Yield a section's place among those that wait for a pass, every second, until its pass begins."""
        return queue_positions(lambda: self._waiting.index(steps) + 1 if steps in self._waiting else 0, steps.begun)

    async def _work(self) -> None:
        while self._waiting:
            if self._most > 1:
                await asyncio.sleep(GATHER_S)
            self._waiting = [each for each in self._waiting if not each.is_stopped]
            kind = self._waiting[0].section.kind if self._waiting else None
            together = [each for each in self._waiting if each.section.kind == kind][: self._most]
            for each in together:
                self._waiting.remove(each)
                each.begun.set()
            await self._pass(together)
            for each in together:
                await each.left.wait()  # their audio comes before the steps of others

    async def _pass(self, together: list[DenoiseRow]) -> None:
        """Take the steps of sections together; one by one, if there is not enough memory."""
        try:
            if together:
                await self._run(together)
        except RenderStopped:
            pass
        except errors.OutOfMemory as error:
            if len(together) > 1:
                for each in together:
                    await self._pass([each])
                return
            together[0].end(error)
        except Exception as error:  # noqa: BLE001 - the callers receive it
            for each in together:
                each.end(error)
        for each in together:
            each.end()
