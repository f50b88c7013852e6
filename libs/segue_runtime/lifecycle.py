"""The shutdown of a process: a fixed sequence after SIGTERM or Ctrl-C; a second signal skips the waiting."""

from __future__ import annotations

import asyncio
import signal
import time
from enum import IntEnum
from typing import TYPE_CHECKING

from segue_runtime import logs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Step = Callable[[float], Awaitable[object]]

log = logs.get("lifecycle")


class Phase(IntEnum):
    """The phases of a shutdown in their order; the steps of one phase run concurrently."""

    REFUSE = 1  # health is NOT_SERVING, no job is claimed, watch streams are asked to resume elsewhere
    WAIT = 2  # load balancers notice it
    FINISH = 3  # the current section ends or is checkpointed, and leases are released
    STOP = 4  # servers close; open calls get the remaining time and are then cancelled
    CLOSE = 5  # channels, metrics, store


class Lifecycle:
    """The steps of a shutdown; each receives the remaining seconds. A forced shutdown skips phases up to FINISH."""

    def __init__(self, drain_s: float) -> None:
        self._drain_s = drain_s
        self._steps: list[tuple[Phase, str, Step]] = []
        self._requested = asyncio.Event()
        self._forced = asyncio.Event()
        self.failed = False
        """Whether the process cannot go on, and ends with an error."""

    def add(self, phase: Phase, name: str, step: Step) -> None:
        """Add a step to a phase."""
        self._steps.append((phase, name, step))

    def request_stop(self) -> None:
        """Request the shutdown; a second request forces it."""
        if self._requested.is_set():
            self._forced.set()
        self._requested.set()

    def fail(self, reason: str) -> None:
        """Request the shutdown of a process that cannot go on; it ends with an error, so that it is started again."""
        log.error("the process ends", reason=reason)
        self.failed = True
        self._requested.set()

    def stop_on_signals(self) -> None:
        """Request the shutdown on SIGTERM and SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.request_stop)

    async def wait_for_stop(self) -> None:
        """Wait until the shutdown is requested."""
        await self._requested.wait()

    @property
    def forced(self) -> bool:
        """Whether the shutdown was requested twice."""
        return self._forced.is_set()

    async def drain(self) -> bool:
        """Run the phases; return False when the shutdown was forced, a step failed, or the process.

        A timeout is no failure: unfinished jobs return to the queue and continue elsewhere.
        """
        end = time.monotonic() + self._drain_s
        clean = True
        for phase in Phase:
            steps = [(name, step) for at, name, step in self._steps if at is phase]
            if not steps or (self.forced and phase <= Phase.FINISH):
                clean = clean and not steps
                continue
            left_s = 0.0 if self.forced else max(0.0, end - time.monotonic())
            log.info("drain", phase=phase.name.lower(), left_s=round(left_s, 1))
            # Closing has no time limit, or the store could lose pending writes.
            limit_s = left_s if phase <= Phase.FINISH else None
            clean = await self._run(steps, left_s, limit_s, forcible=phase <= Phase.FINISH) and clean
        return clean and not self.forced and not self.failed

    async def _run(
        self, steps: list[tuple[str, Step]], left_s: float, limit_s: float | None, *, forcible: bool
    ) -> bool:
        tasks = {asyncio.ensure_future(step(left_s)): name for name, step in steps}
        force = asyncio.ensure_future(self._forced.wait())
        everything = asyncio.gather(*tasks, return_exceptions=True)
        waiting: set[asyncio.Future[object]] = {everything, force} if forcible else {everything}  # type: ignore[arg-type] # futures of different types, which are only waited for
        await asyncio.wait(waiting, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        force.cancel()
        late = [name for task, name in tasks.items() if not task.done()]
        for task in tasks:
            task.cancel("the process shuts down")
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for name, result in zip(tasks.values(), results, strict=True):
            if isinstance(result, Exception):
                log.error("drain step failed", step=name, exc_info=result)
        if late:
            log.warning("drain step timed out", steps=late, forced=self.forced)
        return not any(isinstance(result, Exception) for result in results)
