"""How long the conductor waits for a role that does not answer: as long as a process needs to be started again."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, TypeVar

from segue_runtime import errors, logs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
PATIENCE_S: Final = 30.0
FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 2.0
log = logs.get("conductor")


class Patience:
    """Waits between tries, longer each time, until it is at its end; progress renews it."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._since = 0.0
        self._wait_s = FIRST_WAIT_S

    def renew(self) -> None:
        """Note that something went well."""
        self._since, self._wait_s = 0.0, FIRST_WAIT_S

    async def wait(self, error: errors.SegueError) -> None:
        """Wait before the next try; raises the error when patience is at its end."""
        now = time.monotonic()
        self._since = self._since or now
        if now - self._since > self._patience_s:
            raise error
        log.warning("trying again", reason=error.reason, after_s=round(self._wait_s, 2))
        await asyncio.sleep(self._wait_s)
        self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_S)


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Do something that can be done again from its start, until the role that it needs answers."""
    patience = Patience()
    while True:
        try:
            return await work()
        except errors.Unavailable as error:
            await patience.wait(error)
