"""How a process ends: one written sequence on SIGTERM or Ctrl-C; a second signal forces."""

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
    """The order in which a process ends; the steps of one phase run side by side."""

    REFUSE = 1  # health NOT_SERVING, claim no job, tell watches to resume elsewhere
    WAIT = 2  # load balancers take notice
    FINISH = 3  # the current section ends or is checkpointed, leases are released
    STOP = 4  # servers close, open calls get the rest of the time and are cancelled
    CLOSE = 5  # channels, metrics, store


class Lifecycle:
    """Holds the steps; each gets the seconds that are left. FINISH and earlier are skipped when forced."""

    def __init__(self, drain_s: float) -> None:
        self._drain_s = drain_s
        self._steps: list[tuple[Phase, str, Step]] = []
        self._asked = asyncio.Event()
        self._forced = asyncio.Event()

    def add(self, phase: Phase, name: str, step: Step) -> None:
        """Add a step."""
        self._steps.append((phase, name, step))

    def ask(self) -> None:
        """Ask the process to end; asked again, it is forced."""
        if self._asked.is_set():
            self._forced.set()
        self._asked.set()

    def on_signals(self) -> None:
        """Let SIGTERM and SIGINT ask."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ask)

    async def asked(self) -> None:
        """Wait until the process shall end."""
        await self._asked.wait()

    @property
    def forced(self) -> bool:
        """Whether it was asked twice."""
        return self._forced.is_set()

    async def drain(self) -> bool:
        """Go through the phases; False when it was forced, or a step failed.

        Running out of time is no failure: what did not come to its end is given back, and goes on elsewhere.
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
            # Closing must not be cut short, or the store would lose what it holds.
            limit_s = left_s if phase <= Phase.FINISH else None
            clean = await self._run(steps, left_s, limit_s, forcible=phase <= Phase.FINISH) and clean
        return clean and not self.forced

    async def _run(
        self, steps: list[tuple[str, Step]], left_s: float, limit_s: float | None, *, forcible: bool
    ) -> bool:
        tasks = {asyncio.ensure_future(step(left_s)): name for name, step in steps}
        force = asyncio.ensure_future(self._forced.wait())
        everything = asyncio.gather(*tasks, return_exceptions=True)
        waiting: set[asyncio.Future[object]] = {everything, force} if forcible else {everything}  # type: ignore[arg-type] # futures of different results, only waited for
        await asyncio.wait(waiting, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        force.cancel()
        late = [name for task, name in tasks.items() if not task.done()]
        for task in tasks:
            task.cancel("the process ends")
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for name, result in zip(tasks.values(), results, strict=True):
            if isinstance(result, Exception):
                log.error("drain step failed", step=name, exc_info=result)
        if late:
            log.warning("drain step cut short", steps=late, forced=self.forced)
        return not any(isinstance(result, Exception) for result in results)
