"""The drain of a renderer: no new sections, running ones end within a time, the rest is given back."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from segue_renderer.backend import RenderAccepted, RenderedAudio, RenderedNotes
from segue_runtime import errors, failpoints, logs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from segue_renderer.backend import RenderEvent

BEFORE_EVENT: Final = failpoints.declare("renderer.before_event", "a backend is asked for its next event")
GIVE_BACK_S: Final = 1.0
"""Time that is kept for the answers of sections that are given back."""
log = logs.get("renderer")


class OpenRender:
    """One call, from its request to its end."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.has_begun = False
        """Whether it has a slot. Waiting calls are given back at once."""
        self._is_given_back = False
        self._next: asyncio.Future[RenderEvent | None] | None = None

    async def events(self, source: AsyncGenerator[RenderEvent, None]) -> AsyncGenerator[RenderEvent, None]:
        """Yield a backend's events; ShuttingDown as soon as the call is given back."""
        async with contextlib.aclosing(source):
            while (event := await self._following(source)) is not None:
                if isinstance(event, RenderedAudio | RenderedNotes):
                    self.has_begun = True
                elif isinstance(event, RenderAccepted):
                    self.has_begun = not event.queue_position
                yield event

    async def _following(self, source: AsyncGenerator[RenderEvent, None]) -> RenderEvent | None:
        if self._is_given_back:
            raise shutting_down()
        # A task, since only a task can be cancelled without its caller.
        self._next = asyncio.ensure_future(_next_of(source))
        try:
            return await self._next
        except asyncio.CancelledError:
            if self._is_given_back:
                raise shutting_down() from None
            raise
        finally:
            self._next = None

    def give_back(self) -> None:
        """End the call with ShuttingDown."""
        self._is_given_back = True
        if self._next is not None:
            self._next.cancel()


class RenderDrain:
    """The open calls of a renderer, and whether it accepts more."""

    def __init__(self) -> None:
        self.is_draining = False
        self._open: set[OpenRender] = set()
        self._none = asyncio.Event()
        self._none.set()

    def refuse(self) -> None:
        """Raise ShuttingDown while no sections are accepted."""
        if self.is_draining:
            raise shutting_down()

    @contextlib.contextmanager
    def entered(self, model: str) -> Iterator[OpenRender]:
        """Count a call."""
        call = OpenRender(model)
        self._open.add(call)
        self._none.clear()
        try:
            yield call
        finally:
            self._open.discard(call)
            if not self._open:
                self._none.set()

    def num_waiting(self, model: str) -> int:
        """Return how many calls for a model have not begun, from their arrival on."""
        return sum(call.model == model and not call.has_begun for call in self._open)

    async def begin(self, _left_s: float = 0.0) -> None:
        """Accept no more sections, and give back those that have not begun."""
        self.is_draining = True
        self._give_back([call for call in self._open if not call.has_begun])

    async def finish(self, left_s: float) -> None:
        """Wait for the running sections; give back those that do not end in time."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._none.wait(), max(0.0, left_s - GIVE_BACK_S))
        self._give_back(list(self._open))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._none.wait(), GIVE_BACK_S)

    def _give_back(self, calls: list[OpenRender]) -> None:
        if calls:
            log.info("sections given back", num_sections=len(calls))
        for call in calls:
            call.give_back()


async def _next_of(source: AsyncGenerator[RenderEvent, None]) -> RenderEvent | None:
    await failpoints.reach(BEFORE_EVENT)
    return await anext(source, None)


def shutting_down() -> errors.SegueError:
    """Return the error of a section that another renderer must render."""
    return errors.ShuttingDown("this renderer is shutting down; render the section on another one", retry_after_s=1)
