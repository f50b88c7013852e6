"""A Redis primary and its replica. The roles reach the primary through links, and the replica through one, too."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

from tests.mesh.breaking_proxy import BreakingProxy
from tests.runtime.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import redis

DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0")
SYNC_S = 60.0
POLL_S = 0.02


class RedisPair:
    """Two servers. Either can be the primary; a failover makes the replica the primary."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = contextlib.AsyncExitStack()
        self.primary, self.replica = self._new_server("one"), self._new_server("two")
        self.replication = BreakingProxy(f"127.0.0.1:{self.primary.port}")
        self.links: Mapping[str, BreakingProxy] = {}
        """The links of the roles; they lead to the primary."""

    def _new_server(self, name: str) -> RedisServer:
        folder = self._folder / name
        folder.mkdir(parents=True)
        return RedisServer(folder, *DURABLE)

    async def start(self) -> None:
        """Start both, and wait until the replica follows."""
        await self._stack.enter_async_context(self.replication)
        for server in (self.primary, self.replica):
            await asyncio.to_thread(server.start)
            self._stack.callback(server.kill)
        await self.replicate()

    async def close(self) -> None:
        await self._stack.aclose()

    async def replicate(self) -> None:
        """Let the replica follow the primary."""
        self.replication.mend()
        self.replication.aim(f"127.0.0.1:{self.primary.port}")
        host, _, port = self.replication.address.rpartition(":")
        await asked(self.replica, lambda client: client.replicaof(host, port))
        await self.wait_for_replica()

    async def wait_for_replica(self) -> None:
        """Wait until the replica has everything that the primary had at the beginning."""
        wanted = (await asked(self.primary, lambda client: client.info("replication")))["master_repl_offset"]
        end = time.monotonic() + SYNC_S
        while True:
            found = await asked(self.replica, lambda client: client.info("replication"))
            if found.get("master_link_status") == "up" and found["slave_repl_offset"] >= wanted:
                return
            assert time.monotonic() < end, found
            await asyncio.sleep(POLL_S)

    async def size(self) -> int:
        """Return the number of keys of the primary."""
        return int(await asked(self.primary, lambda client: client.dbsize()))

    def stop(self) -> None:
        """Let the primary stand still."""
        self.primary.send(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let the primary work again."""
        self.primary.send(signal.SIGCONT)

    async def kill(self) -> None:
        """End the primary as a power cut does."""
        await asyncio.to_thread(self.primary.kill)

    async def start_again(self) -> None:
        """Start the primary with its data."""
        await asyncio.to_thread(self.primary.start)

    async def empty(self) -> None:
        """Start the primary, which was killed, without its data. The replica keeps its own."""
        self.replication.refuse()
        await asyncio.to_thread(os.rename, self.primary.folder / "appendonlydir", self._folder / "kept")
        await asyncio.to_thread(self.primary.start)

    async def restore(self) -> None:
        """Start the primary with the data from before."""
        await self.kill()
        await asyncio.to_thread(shutil.rmtree, self.primary.folder / "appendonlydir")
        await asyncio.to_thread(os.rename, self._folder / "kept", self.primary.folder / "appendonlydir")
        await self.start_again()
        await self.replicate()

    def part(self) -> None:
        """Cut the replica off: what the primary accepts from now on is lost by a failover."""
        self.replication.refuse()

    async def fail_over(self) -> None:
        """Kill the primary, make the replica the primary, and lead the roles to it."""
        await self.kill()
        await asked(self.replica, lambda client: client.replicaof("NO", "ONE"))
        self.primary, self.replica = self.replica, self.primary
        for link in self.links.values():
            link.aim(f"127.0.0.1:{self.primary.port}")
        await asyncio.to_thread(shutil.rmtree, self.replica.folder / "appendonlydir")
        await asyncio.to_thread(self.replica.start)
        await self.replicate()


async def asked(server: RedisServer, question: Any) -> Any:
    """Ask a server in a thread."""

    def ask() -> Any:
        with server.client() as client:
            client_of_server: redis.Redis = client
            return question(client_of_server)

    return await asyncio.to_thread(ask)
