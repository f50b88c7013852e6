"""Artifacts in a folder: growing files for segments, whole files by rename."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from segue_runtime import failpoints
from segue_runtime.artifacts.base import ArtifactExists, Part, Ref, check_key
from segue_runtime.errors import (
    ArtifactCorrupt,
    ArtifactNotFound,
    OffsetOutOfRange,
    StorageFull,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

T = TypeVar("T")
AFTER_SYNC = failpoints.declare("artifacts.after_sync", "A segment is on disk, its log row is not yet written.")
BEFORE_RENAME = failpoints.declare("artifacts.before_rename", "A whole file is on disk under its temporary name.")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BLOCK_BYTES = 256 * 1024
DRAFTS = ".drafts"
ABANDONED_S = 86_400.0
"""A draft that nobody wrote to for so long was left behind by a process that was killed."""
NUM_THREADS = 4
RETRY_S = 5.0
MAX_CACHED_BYTES = 1 << 20
"""So much is copied by the event loop itself: a hop to a thread costs more."""
NO_WAIT: int | None = getattr(os, "RWF_NOWAIT", None)
"""Linux only."""


@dataclass(slots=True)
class FileDraft:
    """An unfinished file."""

    file: BinaryIO
    path: Path
    key: str

    def write_through(self, payload: bytes) -> None:
        """Append past the file's buffer."""
        with _told(self.key):
            _write_all(self.file.fileno(), payload)


class FolderArtifacts:
    """The embedded artifact store. Files of one machine; several processes may share the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="artifacts")
        with _told("folder"):
            (folder / DRAFTS).mkdir(parents=True, exist_ok=True, mode=0o700)
            _forget_drafts(folder / DRAFTS)

    async def append(self, stream: str, payload: bytes) -> Ref:
        """Add a segment, durably. Bytes that a crash left behind without a log row stay as harmless orphans."""
        return await self._in_thread(lambda: self._append(stream, payload))

    def _append(self, stream: str, payload: bytes) -> Ref:
        path = self._path(stream)
        with _told(stream):
            is_new = not path.exists()
            new_folders = _make_folders(path) if is_new else []
            # O_APPEND: a conductor that has lost its lease and does not know it yet cannot overwrite its successor.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                _write_all(descriptor, payload)
                offset = os.lseek(descriptor, 0, os.SEEK_CUR) - len(payload)
                _sync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                _sync_folders([path.parent, *new_folders])
        failpoints.hit(AFTER_SYNC)
        return Ref(stream, offset, len(payload), hashlib.sha256(payload).digest())

    async def read(self, ref: Ref, start: int = 0, length: int | None = None) -> bytes:
        """Read a part of a segment."""
        return await self.read_parts([Part(ref, start, ref.length - start if length is None else length)])

    async def read_parts(self, parts: Sequence[Part]) -> bytes:
        """Read parts of segments, one after the other, with one hop to a thread."""
        for ref, start, length in parts:
            if start < 0 or length < 0 or start + length > ref.length:
                raise OffsetOutOfRange(f"{ref.key}: beyond the segment's end", metadata={"size": str(ref.length)})
        spans = _spans(parts)
        cached = self._read_cached(spans)
        if cached is not None:
            return cached
        return await self._in_thread(lambda: b"".join(self._read(*span) for span in spans))

    def _read_cached(self, spans: Sequence[tuple[str, int, int]]) -> bytes | None:
        """Return what the kernel has in memory; None when the disk, or an error, is to be waited for."""
        if NO_WAIT is None or sum(length for _, _, length in spans) > MAX_CACHED_BYTES:
            return None
        found = []
        for key, offset, length in spans:
            try:
                descriptor = os.open(self._path(key), os.O_RDONLY)
                try:
                    block = bytearray(length)
                    if os.preadv(descriptor, [block], offset, NO_WAIT) < length:
                        return None
                finally:
                    os.close(descriptor)
            except OSError:
                return None
            found.append(block)
        return b"".join(found)

    async def read_all(self, ref: Ref) -> bytes:
        """Read a segment and check its digest."""
        payload = await self.read(ref)
        if await self._in_thread(lambda: hashlib.sha256(payload).digest()) != ref.sha256:
            raise ArtifactCorrupt(f"{ref.key}: the bytes at {ref.offset} are not those that were written")
        return payload

    def _read(self, key: str, offset: int, length: int) -> bytes:
        with _told(key):
            descriptor = os.open(self._path(key), os.O_RDONLY)
            try:
                parts = []
                while length > 0:
                    part = os.pread(descriptor, length, offset)
                    if not part:
                        raise ArtifactCorrupt(f"{key}: shorter than its log says")
                    parts.append(part)
                    offset += len(part)
                    length -= len(part)
            finally:
                os.close(descriptor)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @asynccontextmanager
    async def put_file(self, key: str, *, replace: bool = False) -> AsyncIterator[FileDraft]:
        """Write a file that appears whole or not at all."""
        if self._path(key).exists() and not replace:
            raise ArtifactExists(f"{key} exists already")
        draft = self._folder / DRAFTS / secrets.token_hex(12)
        with _told(key):
            file = draft.open("w+b")
        try:
            with _told(key):
                yield FileDraft(file, draft, key)
            await self._in_thread(lambda: self._finish(key, file))
            await failpoints.reach(BEFORE_RENAME)
            await self._in_thread(lambda: self._publish(key, draft, replace=replace))
        finally:
            # What a full disk left in its buffer fails once more here; its first error is on the way already.
            with contextlib.suppress(OSError):
                file.close()
            draft.unlink(missing_ok=True)

    async def put(self, key: str, payload: bytes, *, replace: bool = False) -> Ref:
        """Write a small file whole."""
        async with self.put_file(key, replace=replace) as draft:
            await self._in_thread(lambda: draft.file.write(payload))
        return Ref(key, 0, len(payload), hashlib.sha256(payload).digest())

    def _finish(self, key: str, file: BinaryIO) -> None:
        with _told(key):
            file.flush()
            os.fsync(file.fileno())

    def _publish(self, key: str, draft: Path, *, replace: bool) -> None:
        path = self._path(key)
        with _told(key):
            new_folders = _make_folders(path)
            try:
                if replace:
                    draft.replace(path)
                else:
                    os.link(draft, path)  # unlike rename, a link never replaces a file that came in between
            except FileExistsError as error:
                raise ArtifactExists(f"{key} exists already") from error
            _sync_folders([path.parent, *new_folders])

    async def open_file(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Read a file in blocks."""
        size = await self.size(key)
        end = size if length is None else start + length
        if not 0 <= start <= end <= size:
            raise OffsetOutOfRange(f"{key}: it has {size} bytes", metadata={"size": str(size)})
        while start < end:
            count = min(BLOCK_BYTES, end - start)
            yield await self._in_thread(partial(self._read, key, start, count))
            start += count

    async def size(self, key: str) -> int:
        """Return a file's length in bytes."""
        path = self._path(key)
        with _told(key):
            return path.stat().st_size

    async def exists(self, key: str) -> bool:
        """Tell whether there is such a file."""
        return self._path(key).is_file()

    async def delete_prefix(self, prefix: str) -> int:
        """Delete a key or everything below a folder."""
        return await self._in_thread(lambda: self._delete(prefix.rstrip("/")))

    def _delete(self, prefix: str) -> int:
        path = self._path(prefix)
        with _told(prefix):
            if path.is_file():
                path.unlink()
                return 1
            num_files = sum(1 for each in path.rglob("*") if each.is_file()) if path.is_dir() else 0
            shutil.rmtree(path, ignore_errors=not path.exists())
        return num_files

    def local_path(self, key: str) -> Path | None:
        """Return the file itself."""
        return self._path(key)

    async def close(self) -> None:
        """End the threads; what runs is finished."""
        self._threads.shutdown(wait=True)

    def _path(self, key: str) -> Path:
        return self._folder / check_key(key)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _spans(parts: Sequence[Part]) -> list[tuple[str, int, int]]:
    """Return key, offset and length of what is to be read: segments lie side by side in their file."""
    spans: list[tuple[str, int, int]] = []
    for ref, start, length in parts:
        offset = ref.offset + start
        if spans and spans[-1][0] == ref.key and spans[-1][1] + spans[-1][2] == offset:
            spans[-1] = (ref.key, spans[-1][1], spans[-1][2] + length)
        else:
            spans.append((ref.key, offset, length))
    return spans


def _forget_drafts(folder: Path) -> None:
    """Delete what killed processes left; others may be writing theirs."""
    for draft in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if draft.stat().st_mtime < time.time() - ABANDONED_S:
                draft.unlink()


def _make_folders(path: Path) -> list[Path]:
    """Make the folders above path; returns those that hold a new name and must be synced for it."""
    missing = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    return [folder.parent for folder in missing]


def _sync_folders(folders: list[Path]) -> None:
    """Make new names durable."""
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, payload: bytes) -> None:
    # What a full disk cuts off stays as an orphan: no log row names it.
    view = memoryview(payload)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync(descriptor: int) -> None:
    # fdatasync is not on every platform; fsync does more than is needed.
    getattr(os, "fdatasync", os.fsync)(descriptor)


@contextmanager
def _told(key: str) -> Iterator[None]:
    """Turn the system's errors into ours, without paths of this machine."""
    try:
        yield
    except FileNotFoundError as error:
        raise ArtifactNotFound(f"{key}: there is no such artifact") from error
    except OSError as error:
        if error.errno in FULL:
            raise StorageFull("the artifact store is full: free some space, or shorten store.retention") from error
        raise StoreUnavailable(
            f"{key}: the artifact store failed ({errno.errorcode.get(error.errno or 0, 'OSError')})",
            retry_after_s=RETRY_S,
        ) from error
