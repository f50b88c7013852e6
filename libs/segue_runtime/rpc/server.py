"""One gRPC server of a process: services with health, reflection, TLS, and a written way to stop."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc

from segue_runtime import logs
from segue_runtime.loop_lag import LoopLag
from segue_runtime.metrics import Metrics
from segue_runtime.rpc import reflection, tls
from segue_runtime.rpc.addresses import UNIX, AddressRefused, check_listen, host_of, is_unix
from segue_runtime.rpc.admission import authentication
from segue_runtime.rpc.admission.admission import Admission
from segue_runtime.rpc.health import Health, Readiness
from segue_runtime.rpc.interceptors import CallInterceptor
from segue_runtime.rpc.limits import LOOKAHEAD_BYTES, MAX_MESSAGE_BYTES
from segue_runtime.rpc.open_calls import OpenCalls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from segue_runtime.accounting.traffic import TrafficMeter
    from segue_runtime.callers import Grant
    from segue_runtime.rpc.admission.role_tokens import RoleTokens
    from segue_runtime.settings import ServerSettings
    from segue_runtime.tenants import RequestRates

# All headers of a caller, and all trailers (error details are below 4 KiB), fit.
MAX_METADATA_BYTES = 16 * 1024
# Callers may probe this often; the default of five minutes closes connections of callers that probe more often.
MIN_PING_INTERVAL_MS = 250
# Long, because on a slow connection a megabyte of data may be queued before the probe.
KEEPALIVE_S = 30.0
CLEAN_UP_S = 5.0
# A caller's channel connects again by itself; a stranger must not keep connections without calls.
CONNECTION_IDLE_S = 300.0
# Callers look for hosts that are new behind a name when a connection ends. Its open calls go on.
CONNECTION_AGE_S = 600.0
RESERVED_FILES = 128
FEWEST_CONNECTIONS = 16
UNLIMITED_CONNECTIONS = 1 << 20
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
log = logs.get("server")


def server_options(settings: ServerSettings, keepalive_s: float) -> list[tuple[str, int]]:
    """Return the options of a server; each was found necessary by measurement."""
    answer_ms = round(keepalive_s * 500)
    return [
        ("grpc.so_reuseport", 0),  # without it, a second server shares the port and no error is raised
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_concurrent_streams", settings.max_streams),
        ("grpc.max_allowed_incoming_connections", settings.max_connections or _most_connections()),
        ("grpc.max_connection_idle_ms", round(CONNECTION_IDLE_S * 1000)),
        ("grpc.max_connection_age_ms", round(CONNECTION_AGE_S * 1000)),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.keepalive_time_ms", round(keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", answer_ms),
        ("grpc.http2.ping_timeout_ms", answer_ms),  # without it, a dead connection goes unnoticed for a minute
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
        ("grpc.http2.bdp_probe", 0),  # with the probe, stalled streams are buffered completely
        ("grpc.http2.lookahead_bytes", LOOKAHEAD_BYTES),
    ]


def _admission(
    settings: ServerSettings, services: Sequence[Service], tokens: RoleTokens | None, rates: RequestRates | None
) -> Admission:
    has_users = any(not service.is_for_roles for service in services)
    return Admission(
        *authentication.authenticators(settings, tokens, has_users=has_users),
        max_calls=settings.max_calls,
        max_watches=settings.max_watches,
        grants={service.name: service.grants for service in services if service.grants is not None},
        rates=rates,
    )


def _most_connections() -> int:
    """Return how many connections leave enough open files to the process."""
    if sys.platform == "win32":
        return 1000
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if most == resource.RLIM_INFINITY:
        return UNLIMITED_CONNECTIONS
    return min(UNLIMITED_CONNECTIONS, max(FEWEST_CONNECTIONS, most - RESERVED_FILES))


@dataclass(frozen=True, slots=True)
class Service:
    """A service: its full name, and the function that adds it.

    `warm` does slow imports and `prepare` other slow work before SERVING. `check` is called each second and raises
    while the service cannot work.
    `headers_first`: unary methods send their headers before the work too, as streams do. Their callers can tell whether
    a call has ended the process, and gRPC does not repeat such a call.
    `begin` is called with the server's addresses when the server accepts calls.
    `grants` names for each method the grants of which a caller needs one; without it the service is for roles only.
    """

    name: str
    register: Callable[[grpc.aio.Server], None]
    warm: Callable[[], object] = lambda: None
    prepare: Callable[[], Awaitable[object]] | None = None
    check: Callable[[], Awaitable[object]] | None = None
    headers_first: bool = False
    begin: Callable[[Sequence[str]], None] | None = None
    grants: Mapping[str, frozenset[Grant]] | None = None

    @property
    def is_for_roles(self) -> bool:
        """Whether roles call it, and users may not."""
        return self.grants is None

    def check_grants(self) -> None:
        """Raise ValueError unless the grants have an entry for each method of the contract, and no other."""
        if self.grants is None:
            return
        try:
            described = descriptor_pool.Default().FindServiceByName(self.name)
        except KeyError:
            return  # it is not of the contract; calls of a method without an entry are refused
        wrong = {method.name for method in described.methods} ^ self.grants.keys()
        if wrong:
            raise ValueError(f"{self.name}: write grants for each method, and no others: {', '.join(sorted(wrong))}")


class Server:
    """A gRPC server. When `draining` is set, streams end with ShuttingDown, and clients resume elsewhere."""

    def __init__(
        self,
        settings: ServerSettings,
        services: Sequence[Service],
        *,
        metrics: Metrics | None = None,
        admission: Admission | None = None,
        keepalive_s: float = KEEPALIVE_S,
        role_tokens: RoleTokens | None = None,
        traffic: TrafficMeter | None = None,
        rates: RequestRates | None = None,
    ) -> None:
        self._settings = settings
        self._role_tokens = role_tokens
        self._services = tuple(services)
        self.metrics = metrics or Metrics()
        self.calls = OpenCalls()
        self.draining = asyncio.Event()
        self.addresses: list[str] = []
        self._health = Health()
        self._lag = LoopLag(self.metrics.loop_lag.observe)
        self._is_lagging = False
        self._background: list[asyncio.Task[None]] = []
        self._grpc = grpc.aio.server(
            interceptors=(
                CallInterceptor(
                    self.metrics,
                    self.calls,
                    admission or _admission(settings, services, role_tokens, rates),
                    frozenset(service.name for service in services if service.headers_first),
                    traffic,
                ),
            ),
            options=server_options(settings, keepalive_s),
        )
        for service in self._services:
            service.check_grants()
            service.register(self._grpc)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)  # pyright: ignore[reportUnknownMemberType]
        if settings.reflection:
            reflection.add(self._grpc, [*(service.name for service in self._services), "grpc.health.v1.Health"])

    @property
    def is_lagging(self) -> bool:
        """Whether the event loop has been slow for a while."""
        return self._is_lagging

    def listen(self, address: str) -> str:
        """Listen on HOST:PORT or unix:PATH; return the address with its real port."""
        has_users = any(not service.is_for_roles for service in self._services)
        check_listen(address, self._settings, has_users=has_users, has_role_tokens=self._role_tokens is not None)
        try:
            if is_unix(address):
                Path(address.removeprefix(UNIX)).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._grpc.add_insecure_port(address)
                self.addresses.append(address)
                return address
            if self._settings.tls_cert:
                port = self._grpc.add_secure_port(address, tls.credentials(self._settings))
            else:
                port = self._grpc.add_insecure_port(address)
        except (RuntimeError, OSError) as error:
            raise AddressRefused(address) from error
        host = host_of(address)
        self.addresses.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        return self.addresses[-1]

    async def start(self) -> None:
        """Accept calls; health becomes SERVING when every service is warm."""
        await self.accept()
        await self.warm()

    async def accept(self) -> None:
        """Accept calls; health is NOT_SERVING."""
        await self._set_health(NOT_SERVING)
        await self._grpc.start()
        # Lag is no reason for NOT_SERVING: all servers of a busy installation would leave their balancer together.
        self._background.append(asyncio.create_task(self._lag.run(self._log_lag)))

    async def warm(self) -> None:
        """Let every service do its slow work, then report SERVING."""
        for service in self._services:
            await asyncio.to_thread(service.warm)
            if service.prepare is not None:
                await service.prepare()
        await self._set_health(SERVING)
        self._background += [
            asyncio.create_task(Readiness(self._health, service.name, service.check).run())
            for service in self._services
            if service.check is not None
        ]
        log.info("serving", addresses=self.addresses, services=[service.name for service in self._services])

    async def refuse(self, _left_s: float = 0.0) -> None:
        """Begin the shutdown: health becomes NOT_SERVING, and streams are asked to end."""
        await self._health.enter_graceful_shutdown()
        self.draining.set()

    async def stop(self, grace_s: float) -> bool:
        """Refuse new calls, give open ones grace_s, then cancel them and wait for their `finally` blocks.

        Return False if a handler still runs CLEAN_UP_S after its cancellation.
        """
        await self.refuse()
        await self._grpc.stop(float(grace_s))
        done = await self.calls.none(CLEAN_UP_S)
        if not done:
            log.error("handlers did not end", num_open=self.calls.num_open)
        for task in self._background:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return done

    def _log_lag(self, slow: bool) -> None:  # noqa: FBT001 - the callback's signature
        self._is_lagging = slow
        log.warning("loop lag", too_slow=slow, p99_s=round(self._lag.p99_s(), 4))

    async def _set_health(self, status: int) -> None:
        # The empty name is the liveness of the process: it is SERVING while the process answers.
        for service in self._services:
            await self._health.set(service.name, status)
