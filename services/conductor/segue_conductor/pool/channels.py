"""Channels to the renderers that have leases."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from segue.renderer.v1 import renderer_pb2_grpc
from segue_runtime.rpc.channels import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue_runtime.rpc.admission.role_tokens import RoleAccess
    from segue_runtime.rpc.channels import Channel
    from segue_runtime.store.pool.records import SectionLease

MAX_IDLE: Final = 64


@dataclass(slots=True)
class _OpenChannel:
    channel: Channel
    num_users: int = 0


class RendererChannels:
    """One channel for each renderer, kept while it is in use and for a while after."""

    def __init__(self, access: RoleAccess) -> None:
        self._access = access
        self._open: dict[tuple[str, str], _OpenChannel] = {}

    @contextlib.asynccontextmanager
    async def used(self, lease: SectionLease) -> AsyncIterator[renderer_pb2_grpc.RendererServiceAsyncStub]:
        """Yield the stub of the leased renderer."""
        key = (lease.address, lease.server_name)
        found = self._open.pop(key, None)
        if found is None:
            found = _OpenChannel(connect(lease.address, self._access, server_name=lease.server_name))
        self._open[key] = found  # the last one in the order was used last
        found.num_users += 1
        try:
            # The generated classes serve both kinds of channel; only the stubs' types tell them apart.
            yield cast(
                "renderer_pb2_grpc.RendererServiceAsyncStub", renderer_pb2_grpc.RendererServiceStub(found.channel)
            )
        finally:
            found.num_users -= 1
            await self._close_idle()

    async def close(self) -> None:
        """Close all channels."""
        await asyncio.gather(*(each.channel.close() for each in self._open.values()))

    async def _close_idle(self) -> None:
        idle = [key for key, each in self._open.items() if not each.num_users]
        for key in idle[: max(0, len(idle) - MAX_IDLE)]:
            await self._open.pop(key).channel.close()
