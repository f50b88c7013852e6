"""Files of this machine that are being written, before they appear in the store under their keys."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from typing import TYPE_CHECKING, Protocol

from segue_runtime.artifacts import disk
from segue_runtime.artifacts.disk import full, storage_errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

PARTIAL = ".partial"
"""The folder of partial files."""
ABANDONED_S = 86_400.0
"""A partial file that was not written to for this long was left by a killed process."""


class Publisher(Protocol):
    """What a growing file needs of its store."""

    def check_room(self) -> None:
        """Raise StorageFull when the rest of the disk is reserved."""
        ...

    async def publish(self, key: str, path: Path, *, replace: bool) -> None:
        """Make a partial file durable and give it its key."""
        ...

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Read a range of a published file."""
        ...


class PartialFiles:
    """The partial files of one folder, which several processes may share."""

    def __init__(self, folder: Path, has_room: Callable[[], bool]) -> None:
        self._folder = folder / PARTIAL
        self._has_room = has_room
        with storage_errors("folder"):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.suppress(PermissionError):  # another user's folder: whoever owns it decides
                folder.chmod(0o700)
            _delete_abandoned(self._folder)

    def check_room(self) -> None:
        """Raise StorageFull when the rest of the disk is reserved."""
        if not self._has_room():
            raise full()

    def unused(self) -> Path:
        """Return a path that nothing uses."""
        return self._folder / secrets.token_hex(12)

    def new(self, key: str) -> Path:
        """Create an empty file."""
        self.check_room()
        path = self.unused()
        with storage_errors(key):
            path.touch(mode=0o600)
        return path


class PartialWriter:
    """Writes a partial file in a thread, block by block."""

    def __init__(self, key: str, descriptor: int, in_thread: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        self._key = key
        self._descriptor = descriptor
        self._in_thread = in_thread

    async def write(self, payload: bytes) -> None:
        """Append bytes."""
        with storage_errors(self._key):
            await self._in_thread(lambda: disk.write_all(self._descriptor, payload))


class PartialGrowingFile:
    """A partial file that is read through the descriptor it is written with."""

    def __init__(self, store: Publisher, key: str, path: Path) -> None:
        self._store = store
        self._key = key
        self._path = path
        with storage_errors(key):
            self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_APPEND)

    async def write(self, payload: bytes) -> None:
        """Append bytes to the page cache: this takes microseconds, a hop to a thread would take longer."""
        self._store.check_room()
        with storage_errors(self._key):
            disk.write_all(self._open(), payload)

    async def read(self, start: int, length: int) -> bytes:
        """Read from the page cache; after the commit, from the store."""
        if self._descriptor is None:
            return await self._store.get(self._key, start, length)
        with storage_errors(self._key):
            return os.pread(self._descriptor, length, start)

    async def commit(self) -> None:
        """Make the file durable and let it appear under its key."""
        self._open()
        try:
            await self._store.publish(self._key, self._path, replace=True)
        finally:
            await self.discard()

    async def discard(self) -> None:
        """Delete the file; does nothing after a commit."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            self._path.unlink(missing_ok=True)

    def _open(self) -> int:
        if self._descriptor is None:
            message = f"{self._key} was committed or discarded"
            raise RuntimeError(message)
        return self._descriptor


def _delete_abandoned(folder: Path) -> None:
    """Delete the partial files of killed processes; other processes may be writing theirs."""
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - ABANDONED_S:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
