"""Calls the store's Lua functions: one round trip each, repeated where the answer was lost and a repetition is safe."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from segue_runtime import failpoints
from segue_runtime.errors import InternalError, StorageFull, StoreUnavailable
from segue_runtime.store.redis.refusals import refusal
from segue_runtime.store.threads import AFTER_COMMIT, BEFORE_COMMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_runtime.clocks import Clocks
    from segue_runtime.errors import SegueError
    from segue_runtime.store.redis.server import RedisClient

RETRY_S: Final = 1.0
PAUSES_S: Final = (0.05, 0.2, 0.5)
"""The pauses before a call is repeated whose answer was lost."""
UNAVAILABLE: Final = ("LOADING", "MASTERDOWN", "NOREPLICAS", "MISCONF", "BUSY", "READONLY", "You can't write")
FULL: Final = ("OOM", "command not allowed when used memory")
COMMITS: Final = frozenset(
    {
        *(("jobs", each) for each in ("create", "delete")),
        *(("queue", each) for each in ("claim", "renew", "release", "request_cancel", "attach")),
        *(("log", each) for each in ("append", "set_progress", "check")),
        *(("uploads", each) for each in ("create_upload", "advance_upload", "finish_upload", "discard_upload")),
    }
)
"""The writes with the failpoints of commits."""
TEXT_OF_LUA: Final = "utf-8"


def translate(error: Exception) -> SegueError:
    """Turn an error of the client into a SegueError. Its text may contain an address, but no password."""
    from redis.exceptions import ConnectionError as NotConnected
    from redis.exceptions import RedisError
    from redis.exceptions import TimeoutError as NotAnswered

    if isinstance(error, NotConnected | NotAnswered | OSError):
        return StoreUnavailable(f"Redis does not answer ({type(error).__name__})", retry_after_s=RETRY_S)
    message = str(error)
    if isinstance(error, RedisError) and any(each in message for each in FULL):
        return StorageFull("the memory of Redis is full: raise its maxmemory, or shorten store.retention")
    if isinstance(error, RedisError) and any(each in message for each in UNAVAILABLE):
        return StoreUnavailable(f"Redis accepts no writes ({message.split(maxsplit=1)[0]})", retry_after_s=RETRY_S)
    failure = InternalError("the store failed; see the log")
    failure.__cause__ = error
    return failure


@cache
def _source(library: str) -> str:
    folder = resources.files("segue_runtime.store.redis") / "lua"
    names = ("common", library) if library == "open" else ("common", library, "run")
    return "\n".join((folder / f"{name}.lua").read_text(TEXT_OF_LUA) for name in names)


class RedisScripts:
    """The Lua functions of one store. Without clocks, which are for tests, the time is that of the server."""

    def __init__(
        self,
        client: RedisClient,
        store_id: str,
        clocks: Clocks | None = None,
    ) -> None:
        self.client = client
        self.store_id = store_id
        self._clocks = clocks

    async def call(self, library: str, operation: str, *arguments: Any, repeats: bool = False) -> list[Any]:
        """Call a function and return its answer; `repeats` says that a second call after a lost answer is safe."""
        is_commit = (library, operation) in COMMITS
        if is_commit:
            await _reach(BEFORE_COMMIT)
        answer = await self._run(library, operation, *arguments, pauses_s=PAUSES_S if repeats else ())
        if is_commit:
            await _reach(AFTER_COMMIT)
        if answer[0] != b"ok":
            raise refusal(answer)
        return answer[1:]

    async def _run(self, library: str, operation: str, *arguments: Any, pauses_s: tuple[float, ...]) -> list[Any]:
        from redis.exceptions import ConnectionError as NotConnected
        from redis.exceptions import RedisError
        from redis.exceptions import TimeoutError as NotAnswered

        for pause_s in (*pauses_s, None):
            try:
                with _cancellable():
                    return await self.evaluate(library, operation, *arguments)
            except (NotConnected, NotAnswered, OSError) as error:
                if pause_s is None:
                    raise translate(error) from error
                await asyncio.sleep(pause_s)
            except RedisError as error:
                raise translate(error) from error
        raise AssertionError  # the last pause is None

    async def evaluate(self, library: str, operation: str, *arguments: Any) -> list[Any]:
        """Run a function once; return its answer as it is."""
        from redis.exceptions import NoScriptError

        source = _source(library)
        times = ("", "")
        if self._clocks is not None:
            times = (repr(self._clocks.wall()), repr(self._clocks.steady()))
        values = (operation, self.store_id, *times, *arguments)
        try:
            answer: list[Any] = await self.client.evalsha(_digest(source), 0, *values)
        except NoScriptError:  # the server was started, or it is another one after a failover
            answer = await self.client.eval(source, 0, *values)
        return answer


async def _reach(failpoint: str) -> None:
    try:
        await failpoints.reach(failpoint)
    except failpoints.FailpointError as error:
        raise translate(error) from error


@contextlib.contextmanager
def _cancellable() -> Iterator[None]:
    """Cancel the task at the end if that was asked for meanwhile: before Python 3.12 the client can lose it."""
    task = asyncio.current_task()
    num_cancels = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > num_cancels:
            raise asyncio.CancelledError


@cache
def _digest(source: str) -> str:
    return hashlib.sha1(source.encode(TEXT_OF_LUA), usedforsecurity=False).hexdigest()
