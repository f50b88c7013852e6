"""The membership of a renderer in the pool: a stream to one of the conductors, and to another one when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import re
import socket
import time
from typing import TYPE_CHECKING, Final, cast

from segue.renderer.v1 import pool_pb2, pool_pb2_grpc
from segue_runtime import errors, logs
from segue_runtime.rpc.addresses import host_of
from segue_runtime.rpc.channels import connect
from segue_runtime.rpc.duplex import exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from segue.renderer.v1.renderer_pb2 import GetStatusResponse
    from segue_renderer.hosting.leases import SectionLeases
    from segue_runtime.rpc.admission.role_tokens import RoleAccess

OFFER_EVERY_S: Final = 1.0
LOOK_EVERY_S: Final = 0.1
FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 2.0
STREAM_S: Final = 86_400.0
ANY_PORT: Final = 9
log = logs.get("renderer")


class PoolMembership:
    """Joins the pool at one of the conductors, again and again. `advertised` is the address at which it is called.

    Without it, that is the address at which it listens; if that is any address of the machine, the one from which the
    conductor is reached.
    """

    def __init__(
        self,
        conductors: Sequence[str],
        access: RoleAccess,
        leases: SectionLeases,
        status: Callable[[], GetStatusResponse],
        advertised: str = "",
    ) -> None:
        self._conductors = conductors
        self._access = access
        self._leases = leases
        self._status = status
        self._advertised = advertised
        self._listening = ""
        self._has_joined = False
        self._running: asyncio.Task[None] | None = None
        self._failures = logs.BoundedLog(log)

    def start(self, addresses: Sequence[str]) -> None:
        """Join; the renderer listens on `addresses`."""
        self._listening = addresses[0]
        self._running = asyncio.create_task(self._run())

    async def stop(self, _left_s: float = 0.0) -> None:
        """Leave the pool."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        for conductor in itertools.cycle(self._conductors):
            self._has_joined = False
            try:
                await self._stay(conductor)
            except errors.SegueError as error:
                fields = {"conductor": conductor, "reason": error.reason, "error": error.message}
                self._failures.warning("the pool was not joined, or left", **fields)
            except OSError as error:
                self._failures.warning("the pool was not joined", conductor=conductor, error=str(error))
            except Exception:  # the next conductor may do
                log.exception("the pool was left", conductor=conductor)
            pause_s = FIRST_PAUSE_S if self._has_joined else min(LONGEST_PAUSE_S, 2 * pause_s)
            await asyncio.sleep(pause_s)

    async def _stay(self, conductor: str) -> None:
        """Be a member over one stream, to its end."""
        address = await asyncio.to_thread(self._address_for, conductor)
        renderer = f"renderer-{re.sub('[^a-z0-9.]', '-', address.lower())}"
        async with connect(conductor, self._access, own_connection=True) as channel:
            # The generated classes serve both kinds of channel; only the stubs' types tell them apart.
            stub = cast("pool_pb2_grpc.PoolServiceAsyncStub", pool_pb2_grpc.PoolServiceStub(channel))
            offers = self._offers(renderer, address)
            responses = exchange(stub.Join, offers, service="conductor", timeout_s=STREAM_S)
            async with contextlib.aclosing(responses):
                async for response in responses:
                    self._receive(response, conductor)

    def _receive(self, response: pool_pb2.JoinResponse, conductor: str) -> None:
        kind = response.WhichOneof("message")
        if kind == "joined":
            self._leases.clear()
            self._has_joined = True
            log.info("joined the pool", conductor=conductor)
        elif kind == "assignment":
            given = response.assignment
            self._leases.add(given.lease, given.section_id, given.model)
        elif kind == "revocation":
            self._leases.remove(response.revocation.lease)

    async def _offers(self, renderer: str, address: str) -> AsyncIterator[pool_pb2.JoinRequest]:
        """Yield what the renderer offers, at each change and once a second."""
        last, sent = b"", 0.0
        while True:
            status = self._status()
            found = status.SerializeToString(deterministic=True)
            if found != last or time.monotonic() - sent >= OFFER_EVERY_S:
                last, sent = found, time.monotonic()
                yield pool_pb2.JoinRequest(offer=pool_pb2.Offer(renderer=renderer, address=address, status=status))
            await asyncio.sleep(LOOK_EVERY_S)

    def _address_for(self, conductor: str) -> str:
        if self._advertised:
            return self._advertised
        host, port = host_of(self._listening), self._listening.rpartition(":")[2]
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(host).is_unspecified:
                host = _own_host(conductor)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _own_host(conductor: str) -> str:
    """Return the address of this machine from which a conductor is reached. Nothing is sent."""
    port = int(conductor.rpartition(":")[2]) or ANY_PORT
    family, kind, protocol, _, place = socket.getaddrinfo(host_of(conductor), port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as found:
        found.connect(place)
        host: str = found.getsockname()[0]
        return host
