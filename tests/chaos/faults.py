"""The faults, drawn from a seed: processes that are killed, crash, restart or stand still, disks and connections."""

from __future__ import annotations

import asyncio
import random
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tests.chaos.mesh import CONDUCTORS, INNER, LINKS, PROCESSES
from tests.chaos.tolerance import role_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.mesh import ChaosMesh

# Each names a failpoint, and how many passages it may take at most until the process kills itself.
MOMENTS = {
    "conductor.after_plan": 1,
    "conductor.before_section": 2,
    "conductor.after_take": 2,
    "conductor.after_section": 2,
    "conductor.before_segment_row": 20,
    "conductor.after_segment": 20,
    "conductor.after_join": 2,
    "conductor.after_measure": 1,
    "conductor.after_master": 1,
    "conductor.before_finish": 1,
    "store.before_commit": 40,
    "store.after_commit": 40,
    "artifacts.after_sync": 20,
    "artifacts.before_rename": 4,
}
SLOW_DISK = "store.before_commit=sleep({0}ms); artifacts.after_sync=sleep({1}ms); artifacts.before_rename=sleep({2}ms)"
CRASH_LIMIT_S = 15.0
"""A process that has not reached its moment by then is killed."""


class Fault(Protocol):
    """One fault of one process or link."""

    @property
    def target(self) -> str:
        """The process or link."""
        ...

    @property
    def costs_claims(self) -> bool:
        """Whether pieces may lose their conductor, also because it cannot renew its lease."""
        ...

    async def strike(self, mesh: ChaosMesh) -> None:
        """Cause the fault; return when it is over, or its process is being started again."""
        ...


class OnProcess:
    """A fault of one process."""

    target: str

    @property
    def costs_claims(self) -> bool:
        return self.target in CONDUCTORS


@dataclass(frozen=True)
class Kill(OnProcess):
    """SIGKILL, at any moment."""

    target: str
    away_s: float

    def __str__(self) -> str:
        return f"kill -9 {self.target}, away for {self.away_s:.1f} s"

    async def strike(self, mesh: ChaosMesh) -> None:
        await _restart(mesh, self.target, signal.SIGKILL, self.away_s, "")


@dataclass(frozen=True)
class Crash(OnProcess):
    """SIGKILL at a named moment of the work."""

    target: str
    moment: str
    nth: int

    def __str__(self) -> str:
        return f"crash {self.target} at {self.moment} * {self.nth}"

    async def strike(self, mesh: ChaosMesh) -> None:
        await _restart(mesh, self.target, signal.SIGKILL, 0, f"{self.moment}=kill*{self.nth}")
        if not await mesh.end_of(self.target, lambda: None, CRASH_LIMIT_S):
            await _restart(mesh, self.target, signal.SIGKILL, 0, "")


@dataclass(frozen=True)
class Restart(OnProcess):
    """SIGTERM: the process gives its work back and is started again, perhaps on a slow disk."""

    target: str
    slow_ms: tuple[int, int, int] | None

    def __str__(self) -> str:
        slow = f" on a disk that is slower by {min(self.slow_ms)} to {max(self.slow_ms)} ms" if self.slow_ms else ""
        return f"restart {self.target}{slow}"

    async def strike(self, mesh: ChaosMesh) -> None:
        failpoints = SLOW_DISK.format(*self.slow_ms) if self.slow_ms else ""
        await _restart(mesh, self.target, signal.SIGTERM, 0, failpoints)


@dataclass(frozen=True)
class Hang(OnProcess):
    """A disk that stands still in the middle of a commit, which keeps the store's lock; then SIGKILL."""

    target: str
    nth: int
    seconds: int

    @property
    def costs_claims(self) -> bool:
        return True  # no lease can be renewed meanwhile

    def __str__(self) -> str:
        return f"the disk of {self.target} stands still for {self.seconds} s from commit {self.nth} on"

    async def strike(self, mesh: ChaosMesh) -> None:
        await _restart(mesh, self.target, signal.SIGKILL, 0, f"store.before_commit=sleep({self.seconds}s)*{self.nth}")
        await asyncio.sleep(1.5 * self.seconds)
        await _restart(mesh, self.target, signal.SIGKILL, 0, "")


@dataclass(frozen=True)
class Stop(OnProcess):
    """SIGSTOP, and SIGCONT a while later."""

    target: str
    seconds: float

    def __str__(self) -> str:
        return f"stop {self.target} for {self.seconds:.1f} s"

    async def strike(self, mesh: ChaosMesh) -> None:
        mesh.processes[self.target].send(signal.SIGSTOP)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            mesh.processes[self.target].send(signal.SIGCONT)


@dataclass(frozen=True)
class Break:
    """Connections that break after a number of bytes, and so do those that replace them."""

    link: str
    after_bytes: tuple[int, ...]

    @property
    def target(self) -> str:
        return self.link.partition("-")[0]

    @property
    def costs_claims(self) -> bool:
        return False

    def __str__(self) -> str:
        return f"break connections to {self.link} after {', '.join(map(str, self.after_bytes))} bytes"

    async def strike(self, mesh: ChaosMesh) -> None:
        mesh.links[self.link].break_after(*self.after_bytes)


async def _restart(mesh: ChaosMesh, target: str, how: signal.Signals, away_s: float, failpoints: str) -> None:
    process = mesh.processes[target]
    process.failpoints, process.pause_s = failpoints, away_s
    if not await mesh.end_of(target, lambda: process.send(how), CRASH_LIMIT_S):
        await mesh.end_of(target, lambda: process.send(signal.SIGKILL), CRASH_LIMIT_S)


def strikes(seed: int) -> Iterator[list[Fault]]:
    """Yield one or two faults at a time, of different processes; the same ones for the same seed."""
    chance = random.Random(f"faults of {seed}")
    while True:
        faults = [_fault(chance)]
        if chance.random() < 0.3:
            other = _fault(chance)
            if role_of(other) != role_of(faults[0]):  # no piece survives any number of faults of one role
                faults.append(other)
        yield faults


def _fault(chance: random.Random) -> Fault:
    match chance.choices(("kill", "crash", "restart", "hang", "stop", "break"), (26, 15, 10, 6, 18, 25))[0]:
        case "kill":
            return Kill(chance.choice(PROCESSES), chance.uniform(0, 2))
        case "crash":
            moment = chance.choice(sorted(MOMENTS))
            return Crash(chance.choice(CONDUCTORS), moment, chance.randint(1, MOMENTS[moment]))
        case "restart":
            slow = (chance.randint(5, 60), chance.randint(5, 150), chance.randint(5, 400))
            return Restart(chance.choice(("gateway", *CONDUCTORS)), slow if chance.random() < 0.8 else None)
        case "hang":
            return Hang(chance.choice(("gateway", *CONDUCTORS)), chance.randint(2, 20), chance.randint(6, 9))
        case "stop":
            return Stop(chance.choice(PROCESSES), chance.uniform(0.2, 8))
        case _:
            link = chance.choice(LINKS)
            num_breaks = 1 if link in INNER else chance.randint(1, 3)  # each may be a loss of that role
            return Break(link, tuple(round(10 ** chance.uniform(1, 6)) for _ in range(num_breaks)))
