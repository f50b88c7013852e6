"""PoolService: renderers that join the pool by themselves. What they offer is checked like any hostile input."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

from segue.renderer.v1 import pool_pb2, pool_pb2_grpc
from segue_conductor.pool.members import PRESENT_S
from segue_conductor.pool.offers import offer_of
from segue_runtime import errors, logs
from segue_runtime.rpc.addresses import host_of, is_local, is_loopback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc.aio

    from segue_runtime.store import Pool
    from segue_runtime.store.pool.records import RendererOffer

    Context = grpc.aio.ServicerContext[Any, Any]

SERVICE: Final = "segue.renderer.v1.PoolService"
SILENCE_S: Final = 15.0
"""After this silence a renderer counts as gone: it sends something every second."""
LOOK_EVERY_S: Final = 0.5
REFRESH_S: Final = 2.0
PAUSE_S: Final = 0.1
"""Offers are read at this rate at most."""
MAX_PORT: Final = 65_535
log = logs.get("conductor")


class PoolService(pool_pb2_grpc.PoolServiceServicer):
    """Serves the pool of a store. When `draining` is set, renderers are asked to join elsewhere."""

    def __init__(self, pool: Pool, draining: asyncio.Event) -> None:
        self._pool = pool
        self._draining = draining

    async def Join(
        self, request_iterator: AsyncIterator[pool_pb2.JoinRequest], context: Context
    ) -> AsyncIterator[pool_pb2.JoinResponse]:
        """Keep a renderer in the pool while the stream is open."""
        stream = _JoinStream(self._pool, request_iterator)
        await stream.begin(context.peer())
        log.info("a renderer joined", renderer=stream.renderer)
        reading = asyncio.create_task(stream.read())
        draining = asyncio.create_task(self._draining.wait())
        try:
            yield pool_pb2.JoinResponse(joined=pool_pb2.Joined())
            while not reading.done() and not self._draining.is_set():
                for response in await stream.changes():
                    yield response
                turn = asyncio.create_task(self._pool.wait_for_turn(stream.turn, LOOK_EVERY_S))
                await asyncio.wait({reading, draining, turn}, return_when=asyncio.FIRST_COMPLETED)
                await _cancelled(turn)
            if self._draining.is_set():
                raise errors.ShuttingDown("this conductor is shutting down; join at another one", retry_after_s=1)
            await reading
        finally:
            await _cancelled(draining)
            await _cancelled(reading)
            await self._pool.withdraw(stream.renderer, stream.id)
            log.info("a renderer left", renderer=stream.renderer)


class _JoinStream:
    """One stream of a renderer."""

    def __init__(self, pool: Pool, requests: AsyncIterator[pool_pb2.JoinRequest]) -> None:
        self.id = secrets.token_hex(8)
        self.renderer = ""
        self.turn = 0
        """The last turn whose leases are known."""
        self._address = ""
        self._pool = pool
        self._requests = requests
        self._leases: set[str] = set()
        self._offer: RendererOffer | None = None
        self._written = 0.0

    async def begin(self, peer: str) -> None:
        """Read the first offer, check who makes it, and write it."""
        offer = await self._next()
        if offer is None:
            raise errors.OutOfOrder("the stream ended before the first offer", metadata={"position": "offer"})
        _check_address(offer.address, peer)
        for each in await self._pool.renderers():
            present = each.offer
            if present.renderer == offer.renderer and present.address != offer.address:
                raise errors.InvalidField("offer.renderer: a renderer at another address has joined under this id")
            if present.address == offer.address and present.renderer != offer.renderer:
                raise errors.InvalidField(
                    f"offer.address: {offer.address} is a member already, as {present.renderer}; a renderer either "
                    "joins or is named by renderer.addresses"
                )
        self.renderer, self._address = offer.renderer, offer.address
        await self._write(offer)

    async def read(self) -> None:
        """Write what the renderer offers, to the end of the stream."""
        while (offer := await self._next()) is not None:
            if (offer.renderer, offer.address) != (self.renderer, self._address):
                raise errors.InvalidField("offer: renderer and address are those of the stream's first offer")
            await self._write(offer)
            await asyncio.sleep(PAUSE_S)

    async def changes(self) -> list[pool_pb2.JoinResponse]:
        """Return the assignments and revocations since the last call."""
        self.turn, leases = await self._pool.leases_at(self.renderer)
        present = {each.lease for each in leases}
        found = [
            pool_pb2.JoinResponse(revocation=pool_pb2.Revocation(lease=each)) for each in sorted(self._leases - present)
        ]
        for each in leases:
            if each.lease not in self._leases:
                given = pool_pb2.Assignment(lease=each.lease, section_id=each.section_id, model=each.model)
                found.append(pool_pb2.JoinResponse(assignment=given))
        self._leases = present
        return found

    async def _next(self) -> pool_pb2.Offer | None:
        """Return the next offer, or None at the end of the stream."""
        try:
            async with asyncio.timeout(SILENCE_S):
                request = await anext(self._requests, None)
        except TimeoutError as error:
            raise errors.Deadline(f"no offer came for {SILENCE_S:g} s") from error
        return None if request is None else request.offer

    async def _write(self, offer: pool_pb2.Offer) -> None:
        offered = offer_of(
            offer.address, offer.status, renderer=offer.renderer, server_name=_name_of(offer.address), stream=self.id
        )
        if offered != self._offer or time.monotonic() - self._written > REFRESH_S:
            await self._pool.offer(offered, PRESENT_S)
            self._offer, self._written = offered, time.monotonic()


def _check_address(address: str, peer: str) -> None:
    """Refuse an address that no conductor may call. For a renderer on another machine, loopback is that machine."""
    host, port = host_of(address), address.rpartition(":")[2]
    if int(port) > MAX_PORT:
        raise errors.InvalidField(f"offer.address: there is no port {port}")
    with contextlib.suppress(ValueError):
        number = ipaddress.ip_address(host)
        if number.is_unspecified or number.is_multicast:
            raise errors.InvalidField(f"offer.address: nobody can be called at {host}")
    if is_loopback(address) and not is_local(peer):
        raise errors.InvalidField(f"offer.address: this conductor cannot reach {host} of another machine")


def _name_of(address: str) -> str:
    """Return the name in the certificate of a renderer, if its address has a name."""
    host = host_of(address)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host
    return ""


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
