"""The artifact store in a folder: segments are appended to files, whole files appear by rename."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import shutil
from array import array
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from segue_runtime import failpoints
from segue_runtime.artifacts import disk
from segue_runtime.artifacts.base import ArtifactExists, Part, Ref, StoredFile, check_key
from segue_runtime.artifacts.checksums import BlockChecksums, block_range, checksums_of
from segue_runtime.artifacts.disk import storage_errors
from segue_runtime.artifacts.partial_files import PartialFiles, PartialGrowingFile, PartialWriter
from segue_runtime.artifacts.verified import checked_part, damaged
from segue_runtime.errors import OffsetOutOfRange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

T = TypeVar("T")
AFTER_SYNC = failpoints.declare("artifacts.after_sync", "A segment is on disk, its log row is not yet written.")
BEFORE_RENAME = failpoints.declare("artifacts.before_rename", "A whole file is on disk under its temporary name.")
BLOCK_BYTES = 256 * 1024
NUM_THREADS = 4
DELETE_ATTEMPTS = 8
MAX_CACHED_BYTES = 1 << 20
"""The event loop itself copies up to this much; a hop to a thread costs more."""
NO_WAIT: int | None = getattr(os, "RWF_NOWAIT", None)
"""Linux only."""


class FolderArtifacts:
    """The embedded artifact store: files of one machine. Several processes may share the folder."""

    def __init__(self, folder: Path, has_room: Callable[[], bool] = lambda: True) -> None:
        self._folder = folder
        self._checksums = BlockChecksums()
        self._threads = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="artifacts")
        self._partial = PartialFiles(folder, has_room)

    async def append(self, stream: str, payload: bytes) -> Ref:
        """Add a segment, durably. Bytes that a crash left without a log row stay as harmless orphans."""
        return await self._in_thread(lambda: self._append(stream, payload))

    def _append(self, stream: str, payload: bytes) -> Ref:
        self.check_room()
        with storage_errors(stream):
            offset = disk.append_synced(self._path(stream), payload)
        failpoints.hit(AFTER_SYNC)
        ref = Ref(stream, offset, len(payload), hashlib.sha256(payload).digest())
        self._checksums.add(ref.sha256, checksums_of(payload))  # its first watchers need not verify it
        return ref

    async def read(self, ref: Ref, start: int = 0, length: int | None = None) -> bytes:
        """Read a segment or a part of it."""
        return await self.read_parts([Part(ref, start, ref.length - start if length is None else length)])

    async def read_parts(self, parts: Sequence[Part]) -> bytes:
        """Read several parts of segments with at most one hop to a thread; the whole blocks around them are checked."""
        spans: list[tuple[str, int, int]] = []
        for ref, start, length in parts:
            if start < 0 or length < 0 or start + length > ref.length:
                raise OffsetOutOfRange(f"{ref.key}: beyond the segment's end", metadata={"size": str(ref.length)})
            first, end = block_range(start, length, ref.length)
            spans.append((ref.key, ref.offset + first, end - first))
        known = [self._checksums.get(part.ref.sha256) for part in parts]
        blocks = None if None in known else self._read_cached(spans)
        if blocks is None:
            return await self._in_thread(lambda: self._read_parts(parts, spans))
        return b"".join(map(checked_part, parts, blocks, known))

    def _read_parts(self, parts: Sequence[Part], spans: Sequence[tuple[str, int, int]]) -> bytes:
        known = [self._checksums.get(part.ref.sha256) or self._verify(part.ref) for part in parts]
        return b"".join(map(checked_part, parts, [self._read(*span) for span in spans], known))

    def _verify(self, ref: Ref) -> array[int]:
        """Compare a whole segment with its digest; keep and return the checksums of its blocks."""
        digest, checksums = hashlib.sha256(), array("I")
        for start in range(0, ref.length, BLOCK_BYTES):
            block = self._read(ref.key, ref.offset + start, min(BLOCK_BYTES, ref.length - start))
            digest.update(block)
            checksums += checksums_of(block)
        if digest.digest() != ref.sha256:
            raise damaged(ref)
        self._checksums.add(ref.sha256, checksums)
        return checksums

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Read a small file, or a range that exists."""
        if start < 0 or (length is not None and length < 0):
            raise OffsetOutOfRange(f"{key}: a range starts at 0 or later and has no negative length")
        if length is None:
            length = max(0, await self.size(key) - start)
        span = (key, start, length)
        cached = self._read_cached([span])
        return cached[0] if cached is not None else await self._in_thread(lambda: self._read(*span))

    def _read_cached(self, spans: Sequence[tuple[str, int, int]]) -> list[bytes] | None:
        """Return the bytes if the kernel has them in memory; None if the disk is needed, or after any error."""
        if NO_WAIT is None or sum(length for _, _, length in spans) > MAX_CACHED_BYTES:
            return None
        found: list[bytes] = []
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
            found.append(bytes(block))
        return found

    def _read(self, key: str, offset: int, length: int) -> bytes:
        with storage_errors(key):
            return disk.read_range(self._path(key), key, offset, length)

    async def read_blocks(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Read a file in blocks."""
        size = await self.size(key)
        end = size if length is None else start + length
        if not 0 <= start <= end <= size:
            raise OffsetOutOfRange(f"{key}: the file has {size} bytes", metadata={"size": str(size)})
        while start < end:
            count = min(BLOCK_BYTES, end - start)
            yield await self._in_thread(partial(self._read, key, start, count))
            start += count

    async def put(self, key: str, payload: bytes, *, replace: bool = False) -> Ref:
        """Write a small file."""
        async with self.open_writer(key, replace=replace) as writer:
            await writer.write(payload)
        return Ref(key, 0, len(payload), hashlib.sha256(payload).digest())

    @asynccontextmanager
    async def open_writer(self, key: str, *, replace: bool = False) -> AsyncIterator[PartialWriter]:
        """Write a file in blocks; it appears whole or not at all."""
        async with self.local_output(key, replace=replace) as path:
            descriptor = os.open(path, os.O_WRONLY)
            try:
                yield PartialWriter(key, descriptor, self._in_thread)
            finally:
                os.close(descriptor)

    async def open_growing(self, key: str) -> PartialGrowingFile:
        """Start a file that is read while it is written."""
        self._path(key)
        return PartialGrowingFile(self, key, self._partial.new(key))

    @asynccontextmanager
    async def local_copy(self, key: str) -> AsyncIterator[Path]:
        """Give the store's own file."""
        await self.size(key)
        yield self._path(key)

    @asynccontextmanager
    async def local_output(self, key: str, *, replace: bool = False) -> AsyncIterator[Path]:
        """Give a path in the store's folder, so that the file needs no copy to appear."""
        if self._path(key).exists() and not replace:
            raise ArtifactExists(f"{key} already exists")
        path = self._partial.new(key)
        try:
            with storage_errors(key):
                yield path
            await self.publish(key, path, replace=replace)
        finally:
            path.unlink(missing_ok=True)

    def check_room(self) -> None:
        """Raise StorageFull when the rest of the disk is reserved."""
        self._partial.check_room()

    async def publish(self, key: str, path: Path, *, replace: bool) -> None:
        """Make a partial file durable and give it its key."""

        def sync() -> None:
            with storage_errors(key):
                disk.sync(path)

        def rename() -> None:
            with storage_errors(key):
                disk.publish(path, self._path(key), key, replace=replace)

        await self._in_thread(sync)
        await failpoints.reach(BEFORE_RENAME)
        await self._in_thread(rename)

    async def url(self, key: str, lifetime_s: int) -> None:  # noqa: ARG002 - no URL has any lifetime
        """Return None: a folder has no URLs."""
        self._path(key)

    async def size(self, key: str) -> int:
        """Return the length of a file or a stream in bytes."""
        path = self._path(key)
        with storage_errors(key):
            return path.stat().st_size

    async def exists(self, key: str) -> bool:
        """Return whether the key has a file or a stream."""
        return self._path(key).is_file()

    async def is_empty(self) -> bool:
        """Return whether the folder holds hidden files only."""
        return not any(
            not each.name.startswith(".") for each in await self._in_thread(lambda: [*self._folder.iterdir()])
        )

    async def delete_prefix(self, prefix: str) -> int:
        """Delete a key, or all keys of a folder."""
        return await self._in_thread(lambda: self._delete(prefix.rstrip("/")))

    def _delete(self, prefix: str) -> int:
        path = self._path(prefix)
        with storage_errors(prefix):
            if path.is_file():
                path.unlink()
                return 1
            num_files = sum(1 for each in path.rglob("*") if each.is_file()) if path.is_dir() else 0
            for attempts_left in reversed(range(DELETE_ATTEMPTS)):
                try:
                    shutil.rmtree(path, ignore_errors=not path.exists())
                    break
                except OSError as error:
                    # A write that ends at this moment adds a file to a folder that was just emptied.
                    if error.errno not in {errno.ENOTEMPTY, errno.ENOENT} or not attempts_left:
                        raise
        return num_files

    async def list_files(self, prefix: str) -> list[StoredFile]:
        """List the files of a folder and of the folders below it; `used` is the time of the last change."""
        return await self._in_thread(lambda: self._list(prefix))

    def _list(self, prefix: str) -> list[StoredFile]:
        found: list[StoredFile] = []
        with storage_errors(prefix):
            for path in sorted(self._path(prefix).rglob("*")):
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    if path.is_file():
                        status = path.stat()
                        key = path.relative_to(self._folder).as_posix()
                        found.append(StoredFile(key, status.st_size, status.st_mtime_ns))
        return found

    async def list_folders(self, prefix: str) -> list[str]:
        """List the folders directly below a folder, by their whole names."""

        def names() -> list[str]:
            folder = self._path(prefix)
            with storage_errors(prefix):
                return sorted(f"{prefix}/{each.name}" for each in folder.iterdir()) if folder.is_dir() else []

        return await self._in_thread(names)

    async def touch(self, key: str) -> None:
        """Set the time of the last change."""
        with storage_errors(key):
            await self._in_thread(lambda: os.utime(self._path(key)))

    async def delete_unused(self, prefix: str, listed: Sequence[StoredFile]) -> bool:
        """Delete a folder, unless its files were written or touched after they were listed."""
        return await self._in_thread(lambda: self._delete_unused(prefix, listed))

    def _delete_unused(self, prefix: str, listed: Sequence[StoredFile]) -> bool:
        folder, aside = self._path(prefix), self._partial.unused()
        if self._list(prefix) != list(listed):
            return False
        # Readers find a folder whole or not at all. A touch that came before the renaming shows after it.
        with storage_errors(prefix):
            try:
                folder.rename(aside)
            except FileNotFoundError:  # another process deletes it at the same time
                return False
        unchanged = [(each.key.rpartition("/")[2], each.used) for each in listed]
        if sorted((path.name, path.stat().st_mtime_ns) for path in aside.rglob("*")) != sorted(unchanged):
            with contextlib.suppress(OSError):  # it was written anew meanwhile: the old one can go
                aside.rename(folder)
                return False
        shutil.rmtree(aside)
        with contextlib.suppress(OSError):  # other takes of this owner are left
            folder.parent.rmdir()
        return True

    async def close(self) -> None:
        """Finish running operations and end the threads."""
        self._threads.shutdown(wait=True)

    def _path(self, key: str) -> Path:
        return self._folder / check_key(key)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
