"""Locks of a store: one holder among all processes, and a process that is killed loses its locks."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

from segue_runtime.store import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import asyncio, pathlib, sys
from segue_runtime.store import SqliteStore
async def main():
    store = await SqliteStore.open(pathlib.Path(sys.argv[1]))
    async with store.exclusive("a"):
        print("held", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_a_lock_has_one_holder_and_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    store = await SqliteStore.open(path)
    async with store.exclusive("a"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5), store.exclusive("a"):
                pass
        async with asyncio.timeout(60), store.exclusive("b"):
            pass
    command = (sys.executable, "-c", HOLD, str(path))
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
