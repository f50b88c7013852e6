"""Locks that all processes of an embedded store share.

They are SQLite's own locks of files, which are portable and end with their process.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING, Final

from segue_runtime.errors import StoreUnavailable
from segue_runtime.store.threads import translate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

POLL_S: Final = 0.1


@contextlib.asynccontextmanager
async def exclusive(path: Path) -> AsyncIterator[None]:
    """Hold the lock of a file, which stays empty."""
    with contextlib.closing(_open(path)) as cx:
        while not _is_locked(cx):  # noqa: ASYNC110 - nothing tells when another process unlocks it
            await asyncio.sleep(POLL_S)
        yield


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.touch(mode=0o600)
        return sqlite3.connect(path, timeout=0, isolation_level=None)
    except (sqlite3.Error, OSError) as error:
        raise StoreUnavailable(f"the lock {path.name} cannot be opened: {error}", retry_after_s=1) from error


def _is_locked(cx: sqlite3.Connection) -> bool:
    try:
        cx.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        if error.sqlite_errorname == "SQLITE_BUSY":
            return False
        raise translate(error) from error
    return True
