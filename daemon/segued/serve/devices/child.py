"""One child process: it is started again when it ends, and given up when it ends too often."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

from segue_runtime import logs
from segue_runtime.settings import process_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from segued.serve.devices.devices import RendererDevice

MAX_FAILURES: Final = 3
"""After so many ends in a row a device counts as dead."""
STEADY_S: Final = 60.0
"""A process that was ready for this time has not failed in a row with earlier ones."""
FIRST_PAUSE_S: Final = 0.5
READY: Final = b" ready on "
log = logs.get("devices")


class DeviceProcess:
    """The process of one device. `arguments` are those of its command line; `on_dead` is called if it is given up."""

    def __init__(
        self, device: RendererDevice, arguments: Sequence[str], on_dead: Callable[[DeviceProcess], None]
    ) -> None:
        self.device = device
        self.address = ""
        self.settled = asyncio.Event()
        """Set when it is ready for the first time, or dead."""
        self.is_dead = False
        self._arguments = arguments
        self._on_dead = on_dead
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._ready_since: float | None = None

    async def run(self) -> None:
        """Start the process again and again, until it is stopped or dead."""
        num_failures = 0
        while not self._stopping.is_set():
            code = await self._live()
            if self._stopping.is_set():
                return
            was_steady = self._ready_since is not None and time.monotonic() - self._ready_since > STEADY_S
            num_failures = 1 if was_steady else num_failures + 1
            if num_failures >= MAX_FAILURES:
                self.is_dead = True
                log.error("a device is dead", device=self.device.name, exit_code=code, num_failures=num_failures)
                self._on_dead(self)
                self.settled.set()
                return
            pause_s = FIRST_PAUSE_S * 2 ** (num_failures - 1)
            log.warning("a device's process ended", device=self.device.name, exit_code=code, again_in_s=pause_s)
            await asyncio.sleep(pause_s)

    def stop(self) -> None:
        """Send SIGTERM: the process drains at the first one, and ends at the second one."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    async def _live(self) -> int:
        """Run the process to its end, and return its exit code."""
        self._ready_since = None
        # It ends when its standard input does: when this process ends, however that happens. It is in a session of its
        # own, so that Ctrl-C reaches it through this process only.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "segued", *self._arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=process_environment(self.device.environment),
            start_new_session=True,
        )
        if self._stopping.is_set():
            self.stop()
        log.info("a device's process started", device=self.device.name, pid=self._process.pid)
        output = self._process.stdout
        if output is None:
            raise AssertionError("the output is a pipe")
        async for line in output:
            if READY in line:
                self.address = line.rpartition(READY)[2].decode(errors="replace").strip()
                self._ready_since = time.monotonic()
                self.settled.set()
        return await self._process.wait()
