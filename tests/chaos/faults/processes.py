"""Faults of processes: they are killed, crash, restart and stand still, and their clocks differ."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.fleet.members import role_of

if TYPE_CHECKING:
    from tests.chaos.mesh.mesh import ChaosMesh

SLOW_DISK = "store.before_commit=sleep({0}ms); artifacts.after_sync=sleep({1}ms); artifacts.before_rename=sleep({2}ms)"
CRASH_LIMIT_S = 15.0
"""A process that has not reached its moment by then is killed."""


class OnProcess:
    """A fault of one process."""

    target: str

    @property
    def costs_claims(self) -> bool:
        return role_of(self.target) == "conductor"


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
class Skew(OnProcess):
    """A restart with another clock."""

    target: str
    seconds: float

    def __str__(self) -> str:
        return f"restart {self.target} with a clock that differs by {self.seconds:+.0f} s"

    async def strike(self, mesh: ChaosMesh) -> None:
        mesh.processes[self.target].skew_s = self.seconds
        await _restart(mesh, self.target, signal.SIGTERM, 0, "")


async def _restart(mesh: ChaosMesh, target: str, how: signal.Signals, away_s: float, failpoints: str) -> None:
    process = mesh.processes[target]
    process.failpoints, process.pause_s = failpoints, away_s
    if not await mesh.end_of(target, lambda: process.send(how), CRASH_LIMIT_S):
        await mesh.end_of(target, lambda: process.send(signal.SIGKILL), CRASH_LIMIT_S)
