"""Counts the calls in progress: gRPC's stop() returns before their `finally` blocks have run."""

from __future__ import annotations

import asyncio


class OpenCalls:
    """Counts calls, and waits until none is open."""

    def __init__(self) -> None:
        self.num_open = 0
        self._none = asyncio.Event()
        self._none.set()

    def enter(self) -> None:
        self.num_open += 1
        self._none.clear()

    def leave(self) -> None:
        self.num_open -= 1
        if self.num_open == 0:
            self._none.set()

    async def none(self, timeout_s: float | None = None) -> bool:
        """Wait until no call is open; return False after the timeout."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._none.wait()
        except TimeoutError:
            return False
        return True
