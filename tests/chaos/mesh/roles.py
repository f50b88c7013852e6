"""A process of the mesh that is started again whenever it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

from tests.chaos.mesh.clocks import skewed

if TYPE_CHECKING:
    from tests.mesh.harness import Segued

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
        self.skew_s = 0.0
        """By how much the clock of the next start differs."""
        self.num_ends = 0

    async def start(self) -> None:
        """Start the process, and again whenever it ends."""
        self._segued.home.mkdir(parents=True, exist_ok=True)
        self._supervising = asyncio.create_task(self._supervise())
        while not await self.listens():
            if self.num_ends:
                raise AssertionError(f"{self.name} does not start: {self._segued.log_path.read_text()[-3000:]}")
            await asyncio.sleep(POLL_S)

    async def listens(self) -> bool:
        """Return whether the process accepts connections."""
        host, _, port = self._segued.address.rpartition(":")
        return await asyncio.to_thread(_listens, host, int(port))

    async def _supervise(self) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SEGUE_")}
        clean["TMPDIR"] = str(self._segued.home / "tmp")
        (self._segued.home / "tmp").mkdir(parents=True, exist_ok=True)
        while True:
            command = self._segued.command()
            if self.failpoints:
                command += ["--failpoints-active", self.failpoints]
            self.failpoints = ""
            with self._segued.log_path.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *command,
                    stdout=log,
                    stderr=log,
                    cwd=self._segued.home,
                    env=clean | skewed(self.skew_s),
                    start_new_session=True,
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


def _listens(host: str, port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex((host, port)) == 0
