"""Locks of a store: one holder among all processes, and a process that is killed loses its locks."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

from segue_runtime.errors import StoreUnavailable
from segue_runtime.store import SqliteStore, Store
from segue_runtime.store.redis import RedisStore

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import asyncio, pathlib, sys
from segue_runtime.store import SqliteStore
from segue_runtime.store.redis import RedisStore
async def main():
    where = sys.argv[1]
    store = await (RedisStore.open(where) if "://" in where else SqliteStore.open(pathlib.Path(where)))
    async with store.exclusive("a"):
        print("held", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def open_one(request: pytest.FixtureRequest, kind: str, folder: Path) -> tuple[Store, str]:
    """Open a store; return it and where it is."""
    if kind == "sqlite":
        return await SqliteStore.open(folder / "segue.db"), str(folder / "segue.db")
    server = request.getfixturevalue("redis_server")
    server.replace({})
    return await RedisStore.open(server.url), server.url


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("redis", marks=pytest.mark.reference("redis-server"))])
async def test_a_lock_has_one_holder_and_ends_with_its_process(
    request: pytest.FixtureRequest, kind: str, tmp_path: Path
) -> None:
    store, where = await open_one(request, kind, tmp_path)
    async with store.exclusive("a"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5), store.exclusive("a"):
                pass
        async with asyncio.timeout(60), store.exclusive("b"):
            pass
    command = (sys.executable, "-c", HOLD, where)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"held\n"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5), store.exclusive("a"):
                pass
    finally:
        process.kill()
        await process.communicate()
    async with asyncio.timeout(60), store.exclusive("a"):
        pass
    await store.close()


@pytest.mark.reference("redis-server")
async def test_a_lock_in_redis_that_is_lost_ends_its_work(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segue_runtime.store.redis.locks.RENEW_S", 0.05)
    store, _ = await open_one(request, "redis", tmp_path)

    async def lose_it() -> None:
        async with store.exclusive("a"):
            with request.getfixturevalue("redis_server").client() as client:
                client.delete("segue:lock:a")
            await asyncio.sleep(60)

    async def fail() -> None:
        async with store.exclusive("a"):
            raise TimeoutError

    with pytest.raises(StoreUnavailable):
        await lose_it()
    with pytest.raises(TimeoutError):  # one of the body's own is passed on
        await fail()
    await store.close()
