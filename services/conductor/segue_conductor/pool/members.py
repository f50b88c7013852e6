"""The members of the pool that are known by address: each is asked for its status again and again."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, cast

import grpc
import grpc.aio

from segue.renderer.v1 import renderer_pb2, renderer_pb2_grpc
from segue_conductor.pool.endpoints import resolve
from segue_conductor.pool.offers import offer_of
from segue_runtime import errors, logs
from segue_runtime.rpc.addresses import UNIX, is_unix
from segue_runtime.rpc.channels import connect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_conductor.pool.endpoints import Endpoint
    from segue_runtime.rpc.admission.role_tokens import RoleAccess
    from segue_runtime.store import Pool
    from segue_runtime.store.pool.records import RendererOffer

ASK_EVERY_S: Final = 1.0
ASK_TIMEOUT_S: Final = 5.0
RESOLVE_EVERY_S: Final = 10.0
PRESENT_S: Final = 15.0
"""How long an answer counts. A refused connection ends it at once; silence may be a busy machine."""
REFRESH_S: Final = 5.0
FIRST_ANSWERS_S: Final = 5.0
log = logs.get("conductor")


class PoolMembers:
    """Asks every renderer behind some addresses, and writes what they offer into the store."""

    def __init__(self, addresses: Sequence[str], access: RoleAccess, pool: Pool) -> None:
        self._addresses = addresses
        self._access = access
        self._pool = pool
        self._found: dict[str, list[Endpoint]] = {}
        self._members: dict[Endpoint, Member] = {}
        self._resolving: asyncio.Task[None] | None = None
        self._failures = logs.BoundedLog(log)

    async def start(self) -> None:
        """Ask all members; return when each has answered or failed, after some seconds at the latest."""
        await self._resolve()
        self._resolving = asyncio.create_task(self._resolve_again())
        first = [asyncio.create_task(member.answered.wait()) for member in self._members.values()]
        if first:
            _, late = await asyncio.wait(first, timeout=FIRST_ANSWERS_S)
            for task in late:
                task.cancel()

    async def stop(self) -> None:
        """Ask no more. What the members offered counts for some more seconds, for other conductors."""
        if self._resolving is not None:
            self._resolving.cancel()
            await asyncio.gather(self._resolving, return_exceptions=True)
        await asyncio.gather(*(member.stop() for member in self._members.values()))

    def offer_again(self, renderer: str) -> None:
        """Write a member's offer at its next answer, although it has not changed: the store counts it as absent."""
        for endpoint, member in self._members.items():
            if endpoint.address == renderer:
                member.offer_again()

    async def _resolve_again(self) -> None:
        while True:
            await asyncio.sleep(RESOLVE_EVERY_S)
            try:
                await self._resolve()
            except Exception:  # the next time may succeed
                log.exception("the renderers' names were not resolved")

    async def _resolve(self) -> None:
        """Find the hosts of all addresses. While a name cannot be resolved, its members stay."""
        for address in self._addresses:
            try:
                self._found[address] = await resolve(address)
            except (OSError, UnicodeError) as error:
                self._failures.warning("a renderer's name was not resolved", address=address, error=str(error))
        found = dict.fromkeys(endpoint for each in self._found.values() for endpoint in each)
        for endpoint in found:
            if endpoint not in self._members:
                self._members[endpoint] = Member(endpoint, self._access, self._pool)
        for endpoint in [each for each in self._members if each not in found]:
            member = self._members.pop(endpoint)
            await member.stop()
            await member.withdraw()


async def withdraw_dead_sockets(pool: Pool) -> None:
    """Withdraw the renderers at Unix sockets on which nobody listens: their processes were killed."""
    for each in await pool.renderers():
        address = each.offer.address
        if not is_unix(address):
            continue
        try:
            _, writer = await asyncio.open_unix_connection(address.removeprefix(UNIX))
        except OSError:
            await pool.withdraw(each.offer.renderer)
        else:
            writer.close()


class Member:
    """One renderer. Its status comes over a connection of its own."""

    def __init__(self, endpoint: Endpoint, access: RoleAccess, pool: Pool) -> None:
        self._endpoint = endpoint
        self._channel = connect(endpoint.address, access, server_name=endpoint.server_name, own_connection=True)
        self._pool = pool
        self._offer: RendererOffer | None = None
        self._written = 0.0
        self._failures = logs.BoundedLog(log)
        self.answered = asyncio.Event()
        """Set after the first answer, or the first failure."""
        self._asking = asyncio.create_task(self._ask_again())

    async def stop(self) -> None:
        """Ask no more."""
        self._asking.cancel()
        await asyncio.gather(self._asking, return_exceptions=True)

    def offer_again(self) -> None:
        """Write the next answer, whether it is new or not."""
        self._offer = None

    async def withdraw(self) -> None:
        """Count the renderer as absent."""
        self._offer = None
        await self._pool.withdraw(self._endpoint.address)

    async def _ask_again(self) -> None:
        async with self._channel as channel:
            # The generated classes serve both kinds of channel; only the stubs' types tell them apart.
            stub = cast("renderer_pb2_grpc.RendererServiceAsyncStub", renderer_pb2_grpc.RendererServiceStub(channel))
            logged: dict[str, str] = {}
            while True:
                try:
                    await self._ask(stub)
                    logged = {}
                except errors.SegueError as error:
                    fields = {"renderer": self._endpoint.address, "reason": error.reason, "error": error.message}
                    if fields != logged:  # a renderer that stays away is one line, not one each second
                        self._failures.warning("a renderer was not noted", **fields)
                    logged = fields
                except Exception:  # the next answer may be right
                    log.exception("a renderer was not noted", renderer=self._endpoint.address)
                self.answered.set()
                await asyncio.sleep(ASK_EVERY_S)

    async def _ask(self, stub: renderer_pb2_grpc.RendererServiceAsyncStub) -> None:
        try:
            status = await stub.GetStatus(renderer_pb2.GetStatusRequest(), timeout=ASK_TIMEOUT_S)
        except grpc.RpcError as error:
            is_silent = cast("grpc.aio.AioRpcError", error).code() is grpc.StatusCode.DEADLINE_EXCEEDED
            if self._offer is not None and not is_silent:
                await self.withdraw()
            raise errors.from_rpc_error(error, service="renderer") from error
        try:
            offered = offer_of(self._endpoint.address, status, server_name=self._endpoint.server_name)
        except errors.SegueError:
            if self._offer is not None:
                await self.withdraw()
            raise
        if offered != self._offer or time.monotonic() - self._written > REFRESH_S:
            await self._pool.offer(offered, PRESENT_S)
            self._offer, self._written = offered, time.monotonic()
