"""The free space on the disks of store and artifacts: when new work is refused, and a reserve for ending work."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Final

from segue_runtime import logs
from segue_runtime.errors import StorageFull

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_RESERVE_BYTES: Final = 8 << 20
log = logs.get("space")


def free_bytes_of(folder: Path) -> int:
    """Return the free bytes of the disk of a folder that may not exist yet."""
    for each in (folder, *folder.parents):
        # Every write of audio asks: this is one system call where the folder exists.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return shutil.disk_usage(each).free
    raise FileNotFoundError(folder)


class DiskSpace:
    """The space of several folders. Below `low_bytes` new work is refused, until there is a quarter more than that.

    The reserve is a file that is deleted when the disk is full, so that the store can still write how work ended. While
    it is missing, and when no more than its size is free, artifacts are not written. 0 bytes: nothing is checked.
    """

    def __init__(self, folders: Sequence[Path], reserve: Path, low_bytes: int) -> None:
        self._folders = tuple(folders)
        self._reserve = reserve
        self._low_bytes = low_bytes
        self._reserve_bytes = min(MAX_RESERVE_BYTES, low_bytes // 4)
        self._is_low = False

    def is_low(self) -> bool:
        """Return whether new work must wait."""
        if not self._low_bytes:
            return False
        free = self._free()
        limit = self._low_bytes * 5 // 4 if self._is_low else self._low_bytes
        was_low, self._is_low = self._is_low, free < limit
        if self._is_low != was_low:
            log.warning("disk space", low=self._is_low, free_bytes=free, low_water=self._low_bytes)
        if not self._is_low and not self._reserve.exists():
            self._make_reserve()
        return self._is_low

    def check(self) -> None:
        """Raise StorageFull when new work must wait."""
        if self.is_low():
            raise StorageFull(
                f"less than {self._low_bytes >> 20} MiB are free: free some space, delete compositions, "
                "or lower store.low_water"
            )

    def has_room(self) -> bool:
        """Return whether artifacts may be written."""
        return not self._low_bytes or (self._reserve.exists() and self._free() > self._reserve_bytes)

    def release_reserve(self) -> bool:
        """Delete the reserve; return whether there was one."""
        try:
            self._reserve.unlink()
        except OSError:
            return False
        self._is_low = True
        log.warning("reserve used", reserve_bytes=self._reserve_bytes)
        return True

    def _free(self) -> int:
        return min(map(free_bytes_of, self._folders))

    def _make_reserve(self) -> None:
        try:
            descriptor = os.open(self._reserve, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(descriptor, 0, self._reserve_bytes)
                else:
                    os.write(descriptor, bytes(self._reserve_bytes))
            finally:
                os.close(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                self._reserve.unlink()
