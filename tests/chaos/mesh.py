"""The mesh under test: each role a process that is started again whenever it ends, each connection through a proxy."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING, Self

from tests.mesh.breaking_proxy import BreakingProxy
from tests.mesh.harness import Segued, address_flag, free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RENDERERS = ("renderer-1", "renderer-2")
INNER = ("planner", *RENDERERS, "mixer", "analyzer")
CONDUCTORS = ("conductor-1", "conductor-2")
PROCESSES = (*INNER, "gateway", *CONDUCTORS)
NUM_DOORS = 2
"""How many proxies lead to the gateway: one that breaks leaves the other callers alone."""
LINKS = (*INNER, *(f"gateway-{number}" for number in range(1, NUM_DOORS + 1)))
POLL_S = 0.05


class RoleProcess:
    """A `segued serve --role` process and its supervisor."""

    def __init__(self, name: str, segued: Segued) -> None:
        self.name = name
        self._segued = segued
        self._process: asyncio.subprocess.Process | None = None
        self._supervising: asyncio.Task[None] | None = None
        self.failpoints = ""
        """The failpoints of the next start."""
        self.pause_s = 0.0
        """How long the process stays away after its next end."""
        self.num_ends = 0

    async def start(self) -> None:
        """Start the process, and again whenever it ends."""
        self._supervising = asyncio.create_task(self._supervise())
        host, _, port = self._segued.address.rpartition(":")
        while not await asyncio.to_thread(_listens, host, int(port)):
            if self.num_ends:
                raise AssertionError(f"{self.name} does not start: {self.log_path.read_text()[-3000:]}")
            await asyncio.sleep(POLL_S)

    @property
    def log_path(self) -> Path:
        return self._segued.home / f"{self.name}.log"

    async def _supervise(self) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SEGUE_")}
        clean["TMPDIR"] = str(self._segued.home / "tmp")
        while True:
            command = self._segued.command()
            if self.failpoints:
                command += ["--failpoints-active", self.failpoints]
            self.failpoints = ""
            with self.log_path.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *command, stdout=log, stderr=log, cwd=self._segued.home, env=clean, start_new_session=True
                )
            await self._process.wait()
            self.num_ends += 1
            await asyncio.sleep(self.pause_s)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has just ended."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def close(self) -> None:
        """End supervisor and process."""
        if self._supervising is not None:
            self._supervising.cancel()
            await asyncio.gather(self._supervising, return_exceptions=True)
        self.send(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()


class ChaosMesh:
    """Eight processes on one home: six roles, with two renderers and two conductors."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._stack = contextlib.AsyncExitStack()
        self.links: dict[str, BreakingProxy] = {}
        self.processes: dict[str, RoleProcess] = {}

    async def __aenter__(self) -> Self:
        (self._home / "tmp").mkdir(parents=True)
        addresses = {name: f"127.0.0.1:{free_port()}" for name in PROCESSES}
        for link in LINKS:
            target = addresses.get(link, addresses["gateway"])
            self.links[link] = await self._stack.enter_async_context(BreakingProxy(target))
        flags = [address_flag("renderer"), ",".join(self.links[name].address for name in RENDERERS)]
        for role in ("planner", "mixer", "analyzer"):
            flags += [address_flag(role), self.links[role].address]
        # The callers reconnect within seconds; a machine that is busy must not cancel their pieces meanwhile.
        flags += ["--conductor-count", "3", "--conductor-lease", "4s", "--conductor-heartbeat", "0.5s"]
        flags += ["--gateway-attach-grace", "10m", "--server-drain", "3s", "--conductor-patience", "1h"]
        for name, address in addresses.items():
            segued = Segued(self._home, *flags, role=name.partition("-")[0], address=address)
            self.processes[name] = RoleProcess(name, segued)
            self._stack.push_async_callback(self.processes[name].close)
        await asyncio.gather(*(process.start() for process in self.processes.values()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def doors(self) -> list[str]:
        """The addresses for callers."""
        return [self.links[link].address for link in LINKS if link.startswith("gateway-")]

    async def end_of(self, name: str, doing: Callable[[], None], limit_s: float) -> bool:
        """Do something, and wait until a process has ended; return whether it has within the limit."""
        process = self.processes[name]
        before = process.num_ends
        doing()
        try:
            async with asyncio.timeout(limit_s):
                while process.num_ends == before:
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            return False
        return True


def _listens(host: str, port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex((host, port)) == 0
