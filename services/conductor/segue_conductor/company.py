"""Which jobs a process works on at the same time: several in company, or a suspicious one alone."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


class Company:
    """The jobs of one process. One that may end the process leaves the company of the others, and works alone.

    It waits until the others have ended; meanwhile no job joins.
    """

    def __init__(self) -> None:
        self._num_joined = 0
        self._num_leaving = 0
        self._is_one_alone = False
        self._changed = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether a job may join."""
        return not self._num_leaving and not self._is_one_alone

    async def wait_open(self) -> None:
        """Wait until a job may join."""
        await self._until(lambda: self.is_open)

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """Join while the company is open."""
        self._num_joined += 1
        try:
            yield
        finally:
            self._num_joined -= 1
            self._notify()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Leave the company until the end of the block; wait until no other job runs."""
        self._num_joined -= 1
        self._num_leaving += 1
        self._notify()
        try:
            await self._until(lambda: not self._num_joined and not self._is_one_alone)
            self._is_one_alone = True
            try:
                yield
            finally:
                self._is_one_alone = False
        finally:
            self._num_leaving -= 1
            self._num_joined += 1
            self._notify()

    async def _until(self, is_due: Callable[[], bool]) -> None:
        while not is_due():
            await self._changed.wait()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
