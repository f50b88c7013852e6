"""Supervises one renderer process for each device; each joins the pool by itself."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from typing import TYPE_CHECKING, Final

from segue.renderer.v1 import renderer_pb2
from segue_renderer.hosting.leases import SectionLeases
from segue_renderer.hosting.membership import PoolMembership
from segue_runtime import logs
from segue_runtime.rpc.addresses import ListenError, host_of, is_unix
from segue_runtime.rpc.admission.role_tokens import role_access
from segued.serve.devices.child import DeviceProcess
from segued.serve.devices.devices import devices_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_runtime.settings import Settings
    from segued.serve.devices.devices import RendererDevice

MAX_PORT: Final = 65_535
WITH_DEVICES: Final = ("musicgen", "diffusion", "audiocraft")
"""Backends with a setting `device`."""
log = logs.get("devices")


class Supervisor:
    """The processes of all devices. `arguments` are the command line of this process, which theirs extend."""

    def __init__(self, settings: Settings, arguments: Sequence[str]) -> None:
        self._settings = settings
        self._arguments = arguments
        self._children: list[DeviceProcess] = []
        self._memberships: list[PoolMembership] = []

    async def run(self) -> bool:
        """Run until SIGTERM or Ctrl-C; return False if all devices are dead. Raises ListenError."""
        self._check()
        for number, device in enumerate(await devices_of(self._settings.renderer.devices)):
            self._children.append(DeviceProcess(device, self._command(number, device), self._report_dead))
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._stop)
        running = [asyncio.create_task(child.run()) for child in self._children]
        announcing = asyncio.create_task(self._announce())
        try:
            await asyncio.gather(*running)
        finally:
            announcing.cancel()
            for membership in self._memberships:
                await membership.stop()
        return not all(child.is_dead for child in self._children)

    def _check(self) -> None:
        renderer = self._settings.renderer
        if self._settings.server.role != "renderer":
            raise ListenError("renderer.devices is for renderers in processes of their own: add --role renderer")
        if not renderer.join:
            raise ListenError("renderer.devices needs renderer.join: the conductors whose pool the processes join")
        if is_unix(renderer.listen):
            raise ListenError("renderer.devices needs a renderer.listen with a port: each process has its own")
        if renderer.advertise:
            raise ListenError("renderer.devices: renderer.advertise is one address, and each process has its own")

    def _command(self, number: int, device: RendererDevice) -> list[str]:
        """Return the arguments of a child's command line: later ones replace earlier ones."""
        own = ["--device", "", "--listen", _counted(self._settings.renderer.listen, number), "--ends-with-input"]
        for backend in WITH_DEVICES:
            if backend in self._settings.renderer.backend.split(","):
                own += [f"--renderer-{backend}-device", device.kind]
        if self._settings.metrics.listen:
            own += ["--metrics-listen", _counted(self._settings.metrics.listen, number)]
        return [*self._arguments, *own]

    def _stop(self) -> None:
        for child in self._children:
            child.stop()

    async def _announce(self) -> None:
        """Print one line when every device is ready or dead, as one process does."""
        for child in self._children:
            await child.settled.wait()
        addresses = ", ".join(child.address for child in self._children if not child.is_dead)
        with contextlib.suppress(BrokenPipeError):
            print(f"segued renderer ready on {addresses or 'no device'}", flush=True)  # noqa: T201 - as for one process
        sys.stderr.flush()

    def _report_dead(self, child: DeviceProcess) -> None:
        """Join the pool for a dead device, which others see as FAILED."""
        if not child.address:
            return  # it was never ready, so the pool has never seen it
        status = renderer_pb2.GetStatusResponse(
            device=child.device.name, state=renderer_pb2.RENDERER_STATE_FAILED, reason="its process ended too often"
        )
        access = role_access(self._settings)
        membership = PoolMembership(self._settings.renderer.join, access, SectionLeases(), lambda: status)
        membership.start([child.address])
        self._memberships.append(membership)


def _counted(address: str, number: int) -> str:
    """Return an address whose port is higher by a number; 0 stays any free port."""
    host, port = host_of(address), int(address.rpartition(":")[2])
    counted = port + number if port else 0
    if counted > MAX_PORT:
        raise ListenError(f"{address}: there is no port {counted} for process {number + 1}")
    return f"[{host}]:{counted}" if ":" in host else f"{host}:{counted}"
