"""The lists of the bridge in Redis: jobs, results, and the jobs that each worker has taken.

A worker moves a job to a list of its own. One script pushes the result and removes the job from that list; it does
nothing if the list does not have the job. A worker keeps a key that expires; when it is gone, any other worker moves
the jobs of that list back. So a job is always in one list, and has one result.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from segue_runtime.store.redis.server import connect, disconnect

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from segue_runtime.settings import BridgeSettings

LOSSES_KEPT_S: Final = 7 * 86_400
SILENT_S: Final = 86_400
"""Time for which a silent worker's list is looked at: it may only be stopped, and take a job when it goes on."""

SIGN_OF_LIFE: Final = """
redis.call('ZADD', KEYS[1], redis.call('TIME')[1], ARGV[1])
redis.call('SET', KEYS[2], '1', 'PX', ARGV[2])
return 1
"""
# Writes that need memory come first: a full server refuses the script before it has changed anything.
FINISH: Final = """
if not redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end
if ARGV[2] ~= '' then redis.call('RPUSH', KEYS[2], ARGV[2]) end
redis.call('LREM', KEYS[1], 1, ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[3])
return 1
"""
GIVE_BACK: Final = """
if not redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[1])
redis.call('LREM', KEYS[1], 1, ARGV[1])
return 1
"""
TAKE_BACK: Final = """
if redis.call('EXISTS', KEYS[1]) == 1 then return {0} end
local found = {0}
for _, name in ipairs(redis.call('SMEMBERS', KEYS[6])) do table.insert(found, name) end
while true do
  local payload = redis.call('LINDEX', KEYS[2], -1)
  if not payload then break end
  redis.call('HINCRBY', KEYS[5], redis.sha1hex(payload), 1)
  redis.call('LMOVE', KEYS[2], KEYS[3], 'RIGHT', 'LEFT')
  found[1] = found[1] + 1
end
if found[1] > 0 then redis.call('EXPIRE', KEYS[5], ARGV[2]) end
redis.call('DEL', KEYS[6])
local silent_s = redis.call('TIME')[1] - (redis.call('ZSCORE', KEYS[4], ARGV[1]) or 0)
if silent_s > tonumber(ARGV[3]) then redis.call('ZREM', KEYS[4], ARGV[1]) end
return found
"""
LEAVE: Final = """
redis.call('DEL', KEYS[2])
if redis.call('EXISTS', KEYS[3]) == 0 then redis.call('ZREM', KEYS[1], ARGV[1]) end
return 1
"""


class ListClient(Protocol):
    """What the bridge uses of redis-py, whose own types are partial."""

    def blmove(self, source: str, target: str, timeout: float, src: str, dest: str) -> Awaitable[bytes | None]: ...

    def lrange(self, name: str, first: int, last: int) -> Awaitable[list[bytes]]: ...

    def llen(self, name: str) -> Awaitable[int]: ...

    def hget(self, name: str, key: str) -> Awaitable[bytes | None]: ...

    def zrange(self, name: str, first: int, last: int) -> Awaitable[list[bytes]]: ...

    def sadd(self, name: str, value: str) -> Awaitable[int]: ...

    def srem(self, name: str, value: str) -> Awaitable[int]: ...

    def eval(self, script: str, numkeys: int, *arguments: Any) -> Awaitable[Any]: ...

    def info(self, section: str) -> Awaitable[dict[str, Any]]: ...


def failures_of_redis() -> tuple[type[Exception], ...]:
    """Return the errors of a server that is away, or refuses a command."""
    from redis.exceptions import RedisError

    return RedisError, OSError


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What a lost worker left behind: jobs that wait again, and uploads that nobody needs."""

    num_jobs: int
    uploads: tuple[str, ...]


class JobLists:
    """The lists as one worker sees them. Every call may raise an error of redis-py or an OSError."""

    def __init__(self, settings: BridgeSettings, worker: str) -> None:
        client: Any = connect(settings.url, "bridge.url")
        self._client: ListClient = client
        self._worker = worker
        self._lease_ms = round(settings.lease_s * 1000)
        self.jobs = settings.jobs
        self.results = settings.results
        self._workers = f"{self.jobs}:workers"
        self._losses = f"{self.jobs}:losses"

    def _own(self, kind: str, worker: str = "") -> str:
        return f"{self.jobs}:{kind}:{worker or self._worker}"

    async def close(self) -> None:
        """Close the connections."""
        await disconnect(cast("Any", self._client))

    async def version(self) -> tuple[int, ...]:
        """Return the version of the server; it must have one primary, and BLMOVE."""
        info = await self._client.info("server")
        return tuple(int(part) for part in str(info.get("redis_version", "0")).split(".")[:2])

    async def renew(self) -> None:
        """Give a sign of life."""
        await self._call(SIGN_OF_LIFE, [self._workers, self._own("alive")], self._worker, self._lease_ms)

    async def take(self, wait_s: float) -> bytes | None:
        """Move the next job to this worker's list and return it; None if there is none for a while."""
        return await self._client.blmove(self.jobs, self._own("processing"), wait_s, "LEFT", "RIGHT")

    async def unknown(self, in_hand: Counter[bytes]) -> list[bytes]:
        """Return the jobs of this worker's list that it does not know of: an answer with a job was lost."""
        known = Counter(in_hand)  # jobs may end while the list is read
        found = Counter(await self._client.lrange(self._own("processing"), 0, -1))
        return list((found - known).elements())

    async def num_losses(self, payload: bytes) -> int:
        """Return how often a worker was lost that had this job."""
        return int(await self._client.hget(self._losses, _digest(payload)) or 0)

    async def finish(self, payload: bytes, result: bytes) -> bool:
        """Push the result of a job, or nothing if it is empty, and remove the job; False if others have the job now."""
        keys = [self._own("processing"), self.results, self._losses]
        return bool(await self._call(FINISH, keys, payload, result, _digest(payload)))

    async def give_back(self, payload: bytes) -> bool:
        """Let the job be the next one of any worker."""
        return bool(await self._call(GIVE_BACK, [self._own("processing"), self.jobs], payload))

    async def take_back(self) -> TakenBack:
        """Move the jobs of lost workers back, the oldest to the front."""
        num_jobs, uploads = 0, list[str]()
        for each in await self._client.zrange(self._workers, 0, -1):
            worker = each.decode("utf-8", "replace")
            if worker == self._worker:
                continue
            keys = [
                self._own("alive", worker),
                self._own("processing", worker),
                self.jobs,
                self._workers,
                self._losses,
                self._own("uploads", worker),
            ]
            moved, *names = await self._call(TAKE_BACK, keys, each, LOSSES_KEPT_S, SILENT_S)
            num_jobs += int(moved)
            uploads += [name.decode() for name in names]
        return TakenBack(num_jobs, tuple(uploads))

    async def leave(self) -> None:
        """End the signs of life: what this worker still has is taken back at once."""
        await self._call(LEAVE, [self._workers, self._own("alive"), self._own("processing")], self._worker)

    async def add_upload(self, name: str) -> None:
        """Remember an upload, so that another worker deletes it if this one is lost."""
        await self._client.sadd(self._own("uploads"), name)

    async def remove_upload(self, name: str) -> None:
        """Forget an upload that is deleted."""
        await self._client.srem(self._own("uploads"), name)

    async def lengths(self) -> dict[str, int]:
        """Return the lengths of both lists."""
        return {"jobs": await self._client.llen(self.jobs), "results": await self._client.llen(self.results)}

    async def _call(self, script: str, keys: list[str], *arguments: Any) -> Any:
        return await self._client.eval(script, len(keys), *keys, *arguments)


def _digest(payload: bytes) -> str:
    return hashlib.sha1(payload, usedforsecurity=False).hexdigest()
