"""Notices that a backend hangs: its sections wait for it, and none has heard of it for longer than any step takes."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from segue_renderer.backend import RenderEvent


class StepWatch:
    """Watches the events of one backend's sections. `limit_s` is longer than any step of its models."""

    def __init__(self, limit_s: float = float("inf"), clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._sections: dict[object, bool] = {}
        """Whether each section waits for its next event; else its caller has not taken the last one."""
        self._heard = 0.0

    @property
    def is_stuck(self) -> bool:
        """Whether all sections wait, and the last event was too long ago."""
        waiting = self._sections.values()
        return bool(waiting) and all(waiting) and self._clock() - self._heard > self._limit_s

    async def watched(self, events: AsyncGenerator[RenderEvent, None]) -> AsyncGenerator[RenderEvent, None]:
        """Yield the events of a section."""
        section = object()
        try:
            async with contextlib.aclosing(events):
                self._await_event(section)
                async for event in events:
                    self._sections[section] = False
                    yield event
                    self._await_event(section)
        finally:
            del self._sections[section]
            self._heard = self._clock()

    def _await_event(self, section: object) -> None:
        self._sections[section] = True
        self._heard = self._clock()
