"""The end of an owner in Redis, and of what its files still have of deleted keys."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from segue_runtime import logs
from segue_runtime.errors import StoreUnavailable
from segue_runtime.store.redis.scripts import translate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue_runtime.store.redis.scripts import RedisScripts

PURGE_S: Final = 120.0
PAUSE_S: Final = 0.1
WRITING: Final = ("aof_rewrite_in_progress", "aof_rewrite_scheduled", "rdb_bgsave_in_progress")
log = logs.get("store")


class RedisErasure:
    """Owners documents the methods."""

    _scripts: RedisScripts

    async def discarded_uploads(self, owner: str) -> Sequence[str]:
        (names,) = await self._scripts.call("erasure", "discarded_uploads", owner, repeats=True)
        return [name.decode() for name in names]

    async def erase(self, owner: str) -> int:
        (num_days,) = await self._scripts.call("erasure", "erase", owner)
        await self._scripts.call("erasure", "erase_announcements", owner, repeats=True)
        return int(num_days)

    async def purge(self) -> None:
        """Let the server write the files anew that have earlier commands and values."""
        from redis.exceptions import RedisError, ResponseError

        client = self._scripts.client
        try:
            if (await client.info()).get("aof_enabled"):
                await client.bgrewriteaof()
                await self._wait()
            if any((await client.config_get("save")).values()):
                await client.bgsave()
                await self._wait()
        except ResponseError as error:  # managed services hide these commands
            log.warning("the files of Redis were not written anew: earlier values stay in them", error=str(error))
        except TimeoutError:
            raise StoreUnavailable("Redis still writes its files: earlier values stay in them until then") from None
        except RedisError as error:
            raise translate(error) from error

    async def _wait(self) -> None:
        """Wait until the server has written its files."""
        async with asyncio.timeout(PURGE_S):
            while _is_writing(await self._scripts.client.info()):  # noqa: ASYNC110 - only asking tells
                await asyncio.sleep(PAUSE_S)


def _is_writing(info: Mapping[str, Any]) -> bool:
    return any(int(info.get(field, 0)) > 0 for field in WRITING)
