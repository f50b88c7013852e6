"""The store in Redis: one server, or a primary with replicas behind Sentinel."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Final

from segue_runtime.errors import SegueError, StoreUnavailable
from segue_runtime.store.caches import ProgressCache
from segue_runtime.store.redis.jobs import RedisJobs, RedisQueue
from segue_runtime.store.redis.locks import exclusive
from segue_runtime.store.redis.log import RedisLog
from segue_runtime.store.redis.notifier import POLL_S, RedisNotifier
from segue_runtime.store.redis.owners.erasure import RedisErasure
from segue_runtime.store.redis.owners.usage import RedisUsage
from segue_runtime.store.redis.pool import RedisPool
from segue_runtime.store.redis.scripts import RedisScripts, translate
from segue_runtime.store.redis.server import check_server, connect, disconnect
from segue_runtime.store.redis.uploads import RedisUploads
from segue_runtime.store.schema import TOKEN_KEY_BYTES

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from segue_runtime.clocks import Clocks
    from segue_runtime.store.base import Pool
    from segue_runtime.store.redis.server import RedisClient

VERSION: Final = 1
RETENTION_S: Final = 7 * 86400.0


INDEXES: Final = {
    "job": ("waiting:*", "queue:*", "ending:*", "leases:*", "running:*", "owner:*", "kind:*", "expiring"),
    "upload": ("uploads:of:*", "uploads:all", "uploads:created", "uploads:written", "uploads:discarded"),
    "section": ("line", "line:waiting"),
}
"""The sorted sets whose members are the names of hashes."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair has found."""

    jobs: int
    uploads: int
    sections: int
    removed: int
    """Entries of indexes whose hash does not exist."""


class RedisStore(RedisJobs, RedisQueue, RedisLog, RedisUploads, RedisUsage, RedisErasure):
    """Open it with `await RedisStore.open(url)`. Store documents the methods."""

    def __init__(self, scripts: RedisScripts, token_key: bytes, retention_s: float, poll_s: float) -> None:
        self._scripts = scripts
        self._retention_s = retention_s
        self._progress = ProgressCache()
        self.notifier = RedisNotifier(scripts, poll_s)
        self.pool: Pool = RedisPool(scripts, self.notifier, retention_s)
        self.token_key = token_key

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        retention_s: float = RETENTION_S,
        may_create: bool = True,
        poll_s: float = POLL_S,
        clocks: Clocks | None = None,
    ) -> RedisStore:
        """Open the store of a server, or create it. The clocks replace the server's in tests."""
        client = connect(url)
        try:
            store_id, token_key = await _open(client, may_create=may_create)
        except BaseException as error:
            await disconnect(client)
            if isinstance(error, SegueError) or not isinstance(error, Exception):
                raise
            raise translate(error) from error
        return cls(RedisScripts(client, store_id, clocks), token_key, retention_s, poll_s)

    async def close(self) -> None:
        await self.notifier.close()
        await disconnect(self._scripts.client)

    async def check(self) -> None:
        await self._scripts.call("log", "check")

    async def repair(self) -> Repaired:
        """Rebuild the indexes from the hashes; processes that use the store may run."""
        await self._scripts.call("jobs", "forget_stored")
        jobs = await self._reindex("jobs", "reindex", "job")
        await self._scripts.call("uploads", "forget_bytes")
        uploads = await self._reindex("uploads", "reindex_upload", "upload", "jobs", "parts")
        sections = await self._reindex("pool", "reindex_section", "section")
        removed = 0
        for hashes, indexes in INDEXES.items():
            for index in indexes:
                async for key in self._scripts.client.scan_iter(match=f"segue:{index}"):
                    for member in await self._scripts.client.zrange(key, 0, -1):
                        call = self._scripts.call("jobs", "forget", key, member, f"segue:{hashes}:{member.decode()}")
                        removed += int((await call)[0])
        await self._scripts.call("jobs", "reindex_owners")
        return Repaired(jobs, uploads, sections, removed)

    async def _reindex(self, library: str, operation: str, hashes: str, *others: str) -> int:
        """Put everything of one kind into its indexes; return how many there were."""
        found, prefix = 0, f"segue:{hashes}:"
        async for key in self._scripts.client.scan_iter(match=f"{prefix}*"):
            name = key.decode().removeprefix(prefix)
            if name.partition(":")[0] not in others:
                await self._scripts.call(library, operation, name)
                found += 1
        return found

    def exclusive(self, name: str) -> AbstractAsyncContextManager[None]:
        return exclusive(self._scripts, name)


async def _open(client: RedisClient, *, may_create: bool) -> tuple[str, bytes]:
    """Check the server; return the store's id and key."""
    await check_server(client)
    new = RedisScripts(client, secrets.token_hex(16))
    store_id, token_key, version, release = await new.call(
        "open", "open", secrets.token_bytes(TOKEN_KEY_BYTES), VERSION, metadata.version("segue"), int(may_create)
    )
    if int(version) > VERSION:
        raise StoreUnavailable(
            f"the store was written by Segue {release.decode()} (store version {version.decode()}); this is Segue "
            f"{metadata.version('segue')}, which reads versions up to {VERSION}: run the newer release, or choose "
            "another database"
        )
    return store_id.decode(), token_key
