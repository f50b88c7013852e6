"""A TCP proxy with faults: it cuts, stalls, delays and corrupts connections at chosen bytes."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KINDS = ("cut", "stall", "delay", "corrupt", "refuse")
PIECE_BYTES = 16384
DELAY_S = 0.2


@dataclass(frozen=True)
class Fault:
    """The fault of one connection, and the number of bytes from the server before it."""

    kind: str
    after_bytes: int = 0
    bit: int = 0


def random_faults(seed: int, typical_bytes: int) -> list[Fault]:
    """Return one to four faults; every third one is early, in the first frames of HTTP/2."""
    chance = random.Random(seed)
    faults = []
    for _ in range(chance.randint(1, 4)):
        limit = 3000 if chance.random() < 0.3 else typical_bytes
        faults.append(Fault(chance.choice(KINDS), chance.randrange(limit), chance.randrange(8)))
    return faults


class FaultProxy:
    """Gives each connection the next fault; connections after the last fault have none."""

    def __init__(self, target: str, faults: list[Fault]) -> None:
        self._host, _, self._port = target.rpartition(":")
        self._faults = list(faults)
        self._serving: set[asyncio.Task[None]] = set()
        self.num_connections = 0
        self.num_struck = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            with contextlib.suppress(asyncio.CancelledError):  # by `stop`
                await self._between(reader, writer)
        finally:
            self._serving.discard(task)
            await _close(writer)

    async def _between(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self._faults.pop(0) if self._faults else None
        if fault and fault.kind == "refuse":
            self.num_struck += 1
            return
        there, back = await asyncio.open_connection(self._host, int(self._port))
        pumps = [asyncio.create_task(_pump(reader, back)), asyncio.create_task(self._down(there, writer, fault))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            await _close(back)

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None) -> None:
        passed = 0
        while piece := await reader.read(PIECE_BYTES):
            if fault and passed + len(piece) > fault.after_bytes:
                self.num_struck += 1
                piece = await self._strike(piece, fault.after_bytes - passed, fault, writer)
                if fault.kind == "cut":
                    return
                fault = None
            passed += len(piece)
            writer.write(piece)
            await writer.drain()

    async def _strike(self, piece: bytes, at: int, fault: Fault, writer: asyncio.StreamWriter) -> bytes:
        if fault.kind == "corrupt":
            faulty_network = bytearray(piece)
            faulty_network[at] ^= 1 << fault.bit
            return bytes(faulty_network)
        if fault.kind == "delay":
            await asyncio.sleep(DELAY_S)
            return piece
        writer.write(piece[:at])
        await writer.drain()
        if fault.kind == "stall":
            # A black hole: no more bytes arrive, and the connection stays open.
            await asyncio.Event().wait()
        return b""

    async def stop(self) -> None:
        serving = [*self._serving]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(PIECE_BYTES):
        writer.write(piece)
        await writer.drain()


@contextlib.asynccontextmanager
async def faulty_network(target: str, faults: list[Fault]) -> AsyncIterator[tuple[str, FaultProxy]]:
    """Start a proxy in front of a server and return its address."""
    proxy = FaultProxy(target, faults)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", proxy
    finally:
        server.close()
        await proxy.stop()
