"""File operations of the folder store: durable appends, positioned reads, durable renames."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from segue_runtime.artifacts.base import ArtifactExists
from segue_runtime.errors import (
    ArtifactCorrupt,
    ArtifactNotFound,
    ResourceExhausted,
    StorageFull,
    StoreUnavailable,
    is_disk_full,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

RETRY_S = 5.0


def full() -> ResourceExhausted:
    """Return the error of a full disk."""
    return StorageFull("the artifact store is full: free some space, or shorten store.retention")


@contextmanager
def storage_errors(key: str) -> Iterator[None]:
    """Raise errors of the operating system as errors of the store, without paths of this machine."""
    try:
        yield
    except FileNotFoundError as error:
        raise ArtifactNotFound(f"{key}: there is no such artifact") from error
    except OSError as error:
        if is_disk_full(error):
            raise full() from error
        raise StoreUnavailable(
            f"{key}: the artifact store failed ({errno.errorcode.get(error.errno or 0, 'OSError')})",
            retry_after_s=RETRY_S,
        ) from error


def append_synced(path: Path, payload: bytes) -> int:
    """Append bytes durably, creating the file if needed; return the offset of the first byte."""
    is_new = not path.exists()
    new_names = make_folders(path) if is_new else []
    # O_APPEND: a conductor that has lost its lease and does not know it yet cannot overwrite its successor.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        write_all(descriptor, payload)
        offset = os.lseek(descriptor, 0, os.SEEK_CUR) - len(payload)
        # fdatasync is not available on every platform; fsync is a superset.
        getattr(os, "fdatasync", os.fsync)(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        sync_folders([path.parent, *new_names])
    return offset


def write_all(descriptor: int, payload: bytes) -> None:
    """Write all bytes. A full disk may leave a part of them; no log row refers to that part."""
    view = memoryview(payload)
    while view:
        view = view[os.write(descriptor, view) :]


def read_range(path: Path, key: str, offset: int, length: int) -> bytes:
    """Read exactly `length` bytes; ArtifactCorrupt when the file is shorter."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        pieces: list[bytes] = []
        while length > 0:
            piece = os.pread(descriptor, length, offset)
            if not piece:
                raise ArtifactCorrupt(f"{key}: the file is shorter than its recorded size")
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
    finally:
        os.close(descriptor)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def sync(path: Path) -> None:
    """Make a file's content durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(partial: Path, target: Path, key: str, *, replace: bool) -> None:
    """Give a synced partial file its final name, durably; ArtifactExists unless `replace`."""
    new_names = make_folders(target)
    try:
        try:
            _give_name(partial, target, replace=replace)
        except FileNotFoundError:  # the folder was unused, and another process deleted it meanwhile
            new_names += make_folders(target)
            _give_name(partial, target, replace=replace)
    except FileExistsError as error:
        raise ArtifactExists(f"{key} already exists") from error
    sync_folders([target.parent, *new_names])


def _give_name(partial: Path, target: Path, *, replace: bool) -> None:
    if replace:
        partial.replace(target)
    else:
        os.link(partial, target)  # unlike rename, a link never replaces a file that was created meanwhile


def make_folders(path: Path) -> list[Path]:
    """Create the folders above a path; return the folders that hold a new name and must be synced."""
    missing = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    return [folder.parent for folder in missing]


def sync_folders(folders: Sequence[Path]) -> None:
    """Make new names durable."""
    for folder in folders:
        sync(folder)
