"""One process of the mesh: opens its roles, connects them, starts them, and stops them in order."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from segue_runtime import failpoints, logs
from segue_runtime.accounting.traffic import TrafficMeter
from segue_runtime.clocks import REAL
from segue_runtime.lifecycle import Lifecycle, Phase
from segue_runtime.metrics import Metrics
from segue_runtime.rpc.addresses import AddressRefused, ListenError, is_loopback, is_unix
from segue_runtime.rpc.admission.admission import Admission
from segue_runtime.rpc.admission.role_tokens import role_tokens
from segue_runtime.rpc.server import KEEPALIVE_S, Server, Service
from segue_runtime.tenants import RequestRates, TenantTable
from segued.serve.openness import open_doors
from segued.serve.roles import STATELESS_ROLES
from segued.serve.storage import (
    STORE_ROLES,
    composer_service,
    open_conductor,
    open_storage,
    pool_service,
    proxy_services,
    watch_queues,
)

if TYPE_CHECKING:
    from typing import Self

    from segue_conductor.conductor import Conductor
    from segue_runtime.clocks import Clocks
    from segue_runtime.metrics import MetricsPort
    from segue_runtime.settings import Settings

log = logs.get("server")


class Node:
    """A process with the role of the settings: one of segue_runtime.settings.ROLES, or "all" for the whole mesh.

    `listen` are the addresses of its server. With "all" a second server on a Unix socket is added for the calls between
    its own roles, so that these calls use the same code as in a cluster. It has no limits and needs no token, and its
    folder belongs to this user; strangers and callers reach neither it nor the services that it alone offers.
    """

    def __init__(self, settings: Settings, listen: tuple[str, ...] | None = None, clocks: Clocks = REAL) -> None:
        self.settings = settings
        self._clocks = clocks
        self.role = settings.server.role
        self._roles = (*STATELESS_ROLES, *STORE_ROLES) if self.role == "all" else (self.role,)
        self._listen = listen
        self._metrics = Metrics()
        self._traffic = TrafficMeter()
        self._tenants = TenantTable(settings.limits.tenants_file if "gateway" in self._roles else None)
        self._metrics_port: MetricsPort | None = None
        self._inner_services: list[Service] = []
        self._public: list[Service] = []
        self._draining = asyncio.Event()
        self._background: list[asyncio.Task[None]] = []
        self._folder: Path | None = None
        self.inner = ""
        """The address for calls between the roles of this process; empty unless the role is "all"."""
        self.failed = False
        """Whether the start failed or was cancelled."""
        self.lifecycle = Lifecycle(settings.server.drain_s)
        self.addresses: list[str] = []

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.lifecycle.request_stop()
        await self.lifecycle.drain()

    async def start(self) -> None:
        """Open the roles, listen, and return when every service is warm. A failed start closes what it opened."""
        try:
            await self._start()
        except BaseException:
            self.failed = True
            self.lifecycle.request_stop()
            self.lifecycle.request_stop()  # the second time forces the end: nothing runs that is worth waiting for
            await self.lifecycle.drain()
            raise

    async def _start(self) -> None:
        self._check_join()
        self.lifecycle.add(Phase.REFUSE, "watches", self._refuse)
        if self.settings.metrics.listen:
            self._listen_for_metrics(self.settings.metrics.listen)
        if self.role == "all":
            self.inner = self._inner_socket()
        for role in self._roles:
            if role in STATELESS_ROLES:
                self._inner_services.append(await STATELESS_ROLES[role](self.settings, self.lifecycle, self._metrics))
        conductor = await self._open_store_roles()
        # Every module that declares failpoints has been imported now.
        failpoints.arm(self.settings.failpoints.active)
        servers = await self._accept() if self._own_address() else []
        for service in self._inner_services:
            if service.begin is not None:
                service.begin(self.addresses)
        if conductor is not None:
            await conductor.find_renderers()
        for server in servers:  # the inner roles first: the public server is ready when they are
            await server.warm()
        if conductor is not None:
            conductor.start()

    def _check_join(self) -> None:
        join = self.settings.renderer.join
        if self.settings.renderer.devices and self.role == "all":
            raise ListenError("renderer.devices is for renderers in processes of their own: add --role renderer")
        if join and self.role == "all":
            raise ListenError("renderer.join is for a renderer in a process of its own: add --role renderer")
        if join and self.role == "renderer" and is_unix(self._own_address()):
            raise ListenError("renderer.join needs a renderer that listens on HOST:PORT")
        for address in join if self.role == "renderer" else ():
            if is_unix(address):
                raise ListenError(f"renderer.join: {address}: name conductors as HOST:PORT")

    def _listen_for_metrics(self, address: str) -> None:
        try:
            self._metrics_port = self._metrics.serve(address)
        except OSError as error:
            raise AddressRefused(address) from error
        self.lifecycle.add(Phase.CLOSE, "metrics", self._close_metrics)

    def _inner_socket(self) -> str:
        # A temporary folder has a short path: a Unix socket allows 103 bytes, and the path of a home may be longer.
        self._folder = Path(tempfile.mkdtemp(prefix="segue-"))
        self.lifecycle.add(Phase.CLOSE, "socket", self._remove_folder)
        return f"unix:{self._folder / 'mesh.sock'}"

    async def _open_store_roles(self) -> Conductor | None:
        if not set(self._roles) & set(STORE_ROLES):
            return None
        settings, lifecycle, metrics = self.settings, self.lifecycle, self._metrics
        storage = await open_storage(settings, self.inner, lifecycle, self._traffic, self._clocks)
        self._background.append(asyncio.create_task(watch_queues(storage.store, metrics)))
        self._background.append(asyncio.create_task(self._traffic.report_always(storage.store)))
        lifecycle.add(Phase.STOP, "background", self._stop_background)
        if "gateway" in self._roles:
            composer = composer_service(settings, storage, self._tenants, self._draining, metrics)
            self._inner_services.append(composer)
            # Without its own renderer a process with all roles is not ready; a gateway waits for another one.
            whole = replace(composer, check=self._check_all)
            self._public = [whole, *proxy_services(storage.peers)]
        if "conductor" not in self._roles:
            return None
        (self._public or self._inner_services).append(pool_service(storage, self._draining))
        return open_conductor(settings, storage, self.inner, metrics, lifecycle)

    def _own_address(self) -> str:
        listen: str = getattr(self.settings, "gateway" if self.role == "all" else self.role).listen
        return listen

    async def _accept(self) -> list[Server]:
        settings = self.settings.server
        servers: list[Server] = []
        if self.inner:
            inner = Server(settings, self._inner_services, metrics=self._metrics, admission=Admission())
            inner.listen(self.inner)
            servers.append(inner)
        addresses = self._listen if self._listen is not None else (self._own_address(),)
        if addresses:
            # With a short keepalive a renderer soon frees the slot of a conductor that is gone.
            keepalive_s = self.settings.peers.keepalive_s if self.role in STATELESS_ROLES else KEEPALIVE_S
            services = self._public or self._inner_services
            public = Server(
                settings,
                services,
                metrics=self._metrics,
                keepalive_s=keepalive_s,
                role_tokens=role_tokens(self.settings),
                traffic=self._traffic,
                rates=RequestRates(self._tenants, time.monotonic),
            )
            self.addresses += [public.listen(address) for address in addresses]
            servers.append(public)
            self._log_open_doors(has_users=any(not service.is_for_roles for service in services))
        self.lifecycle.add(Phase.WAIT, "load balancers", self._wait_before_stop)
        for server in servers:
            self.lifecycle.add(Phase.REFUSE, "health", server.refuse)
            self.lifecycle.add(Phase.STOP, "server", server.stop)
            await server.accept()
        return servers

    def _log_open_doors(self, *, has_users: bool) -> None:
        reachable = [address for address in self.addresses if not is_unix(address)]
        if not reachable:
            return
        write = log.info if all(map(is_loopback, reachable)) else log.warning
        for door in open_doors(self.settings, has_users=has_users):
            write(f"open: {door}", addresses=reachable)

    async def _check_all(self) -> None:
        for service in self._inner_services:
            if service.check is not None:
                await service.check()

    async def _refuse(self, _left_s: float) -> None:
        self._draining.set()

    async def _wait_before_stop(self, left_s: float) -> None:
        await asyncio.sleep(min(left_s, self.settings.server.pre_stop_s))

    async def _stop_background(self, _left_s: float) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _close_metrics(self, _left_s: float) -> None:
        if self._metrics_port is not None:
            await asyncio.to_thread(self._metrics_port.close)

    async def _remove_folder(self, _left_s: float) -> None:
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
