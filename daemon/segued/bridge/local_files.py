"""Opens the files that jobs name, below one folder and nowhere else."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, BinaryIO, Final

from segued.bridge.jobs import JobRefused

if TYPE_CHECKING:
    from pathlib import Path

MAX_PATH_BYTES: Final = 4096
NO_LINK: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
# A named pipe must not block the thread that opens it.
FILE: Final = NO_LINK | os.O_NONBLOCK
OUTSIDE: Final = "file_path: it is not below bridge.root"
MISSING: Final = "file_path: there is no such file"


def open_below(root: Path, written: str, max_bytes: int) -> BinaryIO:
    """Open a regular file below the root, whose path may be relative to it; JobRefused says why it cannot.

    Symbolic links are resolved first. Then each folder of the resolved path is opened from the one before it, without
    following links: a link that is put there meanwhile is refused too.
    """
    try:
        if "\0" in written or len(os.fsencode(written)) > MAX_PATH_BYTES:
            raise JobRefused("file_path: it is not a path")
        real_root = root.resolve(strict=True)
        parts = (real_root / written).resolve().relative_to(real_root).parts
    except UnicodeError:
        raise JobRefused("file_path: it is not a path") from None
    except ValueError:
        raise JobRefused(OUTSIDE) from None
    except (OSError, RuntimeError):  # RuntimeError: links in a circle
        raise JobRefused(MISSING) from None
    if not parts:
        raise JobRefused("file_path: it is a folder")
    try:
        descriptor = _open(real_root, parts)
    except OSError as error:
        raise JobRefused(_reason(error)) from None
    try:
        _check(os.fstat(descriptor), max_bytes)
    except JobRefused:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def _open(root: Path, parts: tuple[str, ...]) -> int:
    folder = os.open(root, NO_LINK | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, NO_LINK | os.O_DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(parts[-1], FILE, dir_fd=folder)
    finally:
        os.close(folder)


def _reason(error: OSError) -> str:
    if error.errno in {errno.ELOOP, errno.EMLINK}:  # it became a link after its path was resolved
        return OUTSIDE
    if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}:
        return MISSING
    if error.errno in {errno.EACCES, errno.EPERM}:
        return "file_path: the bridge may not read it"
    return f"file_path: it cannot be opened ({errno.errorcode.get(error.errno or 0, 'unknown')})"


def _check(found: os.stat_result, max_bytes: int) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise JobRefused("file_path: it is a folder")
    if not stat.S_ISREG(found.st_mode):
        raise JobRefused("file_path: it is not a regular file")
    if found.st_size > max_bytes:
        raise JobRefused(f"file_path: the file has {found.st_size} bytes; bridge.max_bytes is {max_bytes}")
    if found.st_size == 0:
        raise JobRefused("file_path: the file is empty")
