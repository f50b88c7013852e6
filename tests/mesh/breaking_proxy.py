"""A TCP proxy that breaks, refuses and slows connections, answers for its target, and can be led to another one."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

UNLIMITED = 1 << 60
BLOCK_BYTES = 65_536
Half: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


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
        self.target = target
        self._limits = list(limits)
        self._open: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.num_broken = 0
        self.address = ""
        self.delay_s = 0.0
        """How long each block of bytes waits until it is passed on."""
        self.answer: Callable[[bytes], bytes] | None = None
        """Returns what the caller gets for a block that it sends, instead of the target's answer; empty: nothing."""
        self._refuses = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def break_after(self, *limits: int) -> None:
        """Break every open connection after the first number of bytes, and the next ones after the others."""
        for connection in self._open:
            connection.left = min(connection.left, limits[0])
        self._limits = list(limits[1:])

    def cut(self) -> None:
        """Break every open connection."""
        for connection in self._open:
            connection.abort()

    def refuse(self) -> None:
        """Break every open connection, and each new one."""
        self._refuses = True
        self.cut()

    def mend(self) -> None:
        """Pass everything on again."""
        self._refuses, self.delay_s, self.answer = False, 0.0, None

    def aim(self, target: str) -> None:
        """Lead new connections to another target, and break the open ones."""
        self.target = target
        self.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.target.rpartition(":")
        try:
            there_reader, there_writer = await asyncio.open_connection(host, int(port))
        except OSError:  # nobody listens there at the moment
            writer.transport.abort()
            return
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        if self._refuses:  # perhaps since a moment ago
            writer.transport.abort()
            there_writer.transport.abort()
            return
        connection = Connection(self._limits.pop(0) if self._limits else UNLIMITED, [writer, there_writer])
        self._open.add(connection)
        task = asyncio.create_task(self._serve((reader, writer), (there_reader, there_writer), connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, caller: Half, target: Half, connection: Connection) -> None:
        try:
            await asyncio.gather(
                self._pass_on(caller[0], target[1], connection, caller=caller[1]),
                self._pass_on(target[0], caller[1], connection),
            )
        except asyncio.CancelledError:
            connection.abort()
            raise

    async def _pass_on(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        connection: Connection,
        caller: asyncio.StreamWriter | None = None,
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await source.read(BLOCK_BYTES):
                if caller is not None and self.answer is not None and (answer := self.answer(piece)):
                    await _answer_instead(source, caller, answer)
                    break
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if connection.left <= 0:
                    return
                target.write(piece[: connection.left])
                connection.left -= len(piece)
                if connection.left <= 0:
                    self.num_broken += 1
                    break
                await target.drain()
        # gRPC, Redis and HTTP never close one half only.
        self._open.discard(connection)
        if connection.left <= 0:
            connection.abort()
        else:
            target.close()


async def _answer_instead(source: asyncio.StreamReader, caller: asyncio.StreamWriter, answer: bytes) -> None:
    """Answer, and read the rest of the request: a connection that is closed before loses the answer."""
    caller.write(answer)
    await caller.drain()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            while await source.read(BLOCK_BYTES):
                pass
    caller.close()
