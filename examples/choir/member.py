"""The membership of a renderer in the pool of a mesh: a stream of offers, answered with the leases of its sections."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

import grpc.aio

from segue.renderer.v1 import pool_pb2, pool_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from segue.renderer.v1.renderer_pb2 import GetStatusResponse, RenderStart

LOOK_EVERY_S: Final = 0.1
LOOKS_PER_OFFER: Final = 10
PAUSE_S: Final = 1.0
LEASE_WAIT_S: Final = 5.0
"""A section may come before its assignment, which comes by another way."""


class Member:
    """Joins at a conductor, and again when the stream ends. Conductors call the renderer at `address`."""

    def __init__(self, conductor: str, address: str, token: str, status: Callable[[], GetStatusResponse]) -> None:
        self._conductor = conductor
        self._address = address
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._status = status
        self._leases: dict[str, tuple[str, str]] = {}

    async def run(self) -> None:
        """Be a member until cancelled."""
        while True:
            try:
                async with grpc.aio.insecure_channel(self._conductor) as channel:
                    stub: Any = pool_pb2_grpc.PoolServiceStub(channel)
                    async for response in stub.Join(self._offers(), metadata=self._metadata):
                        self._receive(response)
            except grpc.aio.AioRpcError as error:
                print(f"not in the pool of {self._conductor}: {error.details()}", flush=True)
            await asyncio.sleep(PAUSE_S)

    async def holds(self, start: RenderStart, model: str) -> bool:
        """Return whether a section has a lease here."""
        try:
            async with asyncio.timeout(LEASE_WAIT_S if start.lease else 0):
                while self._leases.get(start.lease) != (start.spec.section_id, model):  # noqa: ASYNC110 - short, and simpler
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            return False
        return True

    async def _offers(self) -> AsyncIterator[pool_pb2.JoinRequest]:
        """Yield the status at each change, and once a second."""
        renderer = "choir-" + re.sub("[^a-z0-9.]", "-", self._address.lower())
        last, looks = None, 0
        while True:
            status, looks = self._status(), looks + 1
            if status != last or looks >= LOOKS_PER_OFFER:
                last, looks = status, 0
                yield pool_pb2.JoinRequest(
                    offer=pool_pb2.Offer(renderer=renderer, address=self._address, status=status)
                )
            await asyncio.sleep(LOOK_EVERY_S)

    def _receive(self, response: pool_pb2.JoinResponse) -> None:
        kind = response.WhichOneof("message")
        if kind == "joined":
            self._leases.clear()  # those of a former stream do not count
        elif kind == "assignment":
            given = response.assignment
            self._leases[given.lease] = (given.section_id, given.model)
        elif kind == "revocation":
            self._leases.pop(response.revocation.lease, None)
