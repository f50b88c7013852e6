"""A TCP proxy whose connections break after some number of bytes, in the middle of whatever goes on."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

UNLIMITED = 1 << 60


@dataclass(eq=False)
class Connection:
    """Both halves of one connection through the proxy, and the bytes that they may still pass on."""

    left: int
    halves: list[asyncio.StreamWriter] = field(default_factory=list)

    def abort(self) -> None:
        for writer in self.halves:
            writer.transport.abort()


class BreakingProxy:
    """Passes bytes on to `target`. The first connections break after the numbers of bytes in `limits`."""

    def __init__(self, target: str, limits: Iterable[int] = ()) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._limits = list(limits)
        self._open: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.num_broken = 0
        self.address = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._open:
            connection.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def break_after(self, *limits: int) -> None:
        """Break every open connection after the first number of bytes, and the next ones after the others."""
        for connection in self._open:
            connection.left = min(connection.left, limits[0])
        self._limits = list(limits[1:])

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:  # nobody listens there at the moment
            writer.transport.abort()
            return
        connection = Connection(self._limits.pop(0) if self._limits else UNLIMITED, [writer, there_writer])
        self._open.add(connection)
        for source, target in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(self._pass_on(source, target, connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, connection: Connection
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await source.read(65_536):
                if connection.left <= 0:
                    return
                target.write(piece[: connection.left])
                connection.left -= len(piece)
                if connection.left <= 0:
                    self.num_broken += 1
                    break
                await target.drain()
        # gRPC never closes one half only.
        self._open.discard(connection)
        if connection.left <= 0:
            connection.abort()
        else:
            target.close()
