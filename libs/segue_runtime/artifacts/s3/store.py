"""The artifact store in a bucket: gateways and conductors on different machines need no shared folder."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
import tempfile
import zlib
from array import array
from collections import OrderedDict, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakValueDictionary

from segue_runtime import failpoints
from segue_runtime.artifacts.base import ArtifactExists, Part, Ref, StoredFile, check_key
from segue_runtime.artifacts.checksums import BlockChecksums, block_range, checksums_of
from segue_runtime.artifacts.disk import storage_errors
from segue_runtime.artifacts.folder import AFTER_SYNC, BEFORE_RENAME
from segue_runtime.artifacts.local import temporary_copy
from segue_runtime.artifacts.partial_files import PARTIAL, PartialFiles, PartialGrowingFile, PartialWriter
from segue_runtime.artifacts.s3.bucket import PART_BYTES, Bucket
from segue_runtime.artifacts.s3.streams import OBJECT, WRITER, StreamObjects
from segue_runtime.artifacts.verified import checked_part, damaged
from segue_runtime.errors import ArtifactCorrupt, ArtifactNotFound, OffsetOutOfRange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from segue_runtime.artifacts.s3.bucket import StoredObject
    from segue_runtime.settings import S3Settings

T = TypeVar("T")
BLOCK_BYTES: Final = 256 * 1024
READ_BYTES: Final = 4 << 20
"""The bytes of one request. A reader holds as much in memory."""
WHOLE_BYTES: Final = 4 << 20
"""Segments and files up to this size are read whole, checked, and kept in memory."""
KEPT_BYTES: Final = 32 << 20
NUM_THREADS: Final = 4
USED: Final = ".used-"
"""The name of the object that says when a file was touched: this and the file's name, in the file's folder."""
DELETING: Final = ".deleting"
"""The name of the object in a folder that is about to be deleted: whoever touches a file later must make it anew."""
ABANDONED_S: Final = 600
"""The process that wrote such a marker this long ago was killed."""
MARKER: Final = re.compile(rf"(?P<folder>.+)/(?:{re.escape(USED)}(?P<name>.+)|{re.escape(DELETING)})")


class S3Artifacts:
    """The artifact store in a bucket. `folder` holds files that grow, and copies for libraries that need a path."""

    def __init__(self, settings: S3Settings, folder: Path, has_room: Callable[[], bool] = lambda: True) -> None:
        self._bucket = Bucket(settings)
        self._streams = StreamObjects(self._bucket)
        self._partial = PartialFiles(folder, has_room)
        self._spool = folder / PARTIAL
        self._checksums = BlockChecksums()
        self._kept: OrderedDict[tuple[str, int], tuple[bytes, bytes]] = OrderedDict()
        """Contents that matched their digests, by key and offset: the digest and the content."""
        self._kept_bytes = 0
        self._fetches: WeakValueDictionary[tuple[str, int], asyncio.Lock] = WeakValueDictionary()
        self._threads = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="artifacts")

    # Segments.

    async def append(self, stream: str, payload: bytes) -> Ref:
        """Add a segment as an object of its own."""
        key, offset = await self._streams.append(check_key(stream), payload)
        await failpoints.reach(AFTER_SYNC)
        ref = Ref(key, offset, len(payload), hashlib.sha256(payload).digest())
        self._keep(ref, payload)  # its first watchers need not fetch it
        return ref

    async def read(self, ref: Ref, start: int = 0, length: int | None = None) -> bytes:
        """Read a segment or a part of it."""
        return await self.read_parts([Part(ref, start, ref.length - start if length is None else length)])

    async def read_parts(self, parts: Sequence[Part]) -> bytes:
        """Read several parts of segments."""
        for ref, start, length in parts:
            if start < 0 or length < 0 or start + length > ref.length:
                raise OffsetOutOfRange(f"{ref.key}: beyond the segment's end", metadata={"size": str(ref.length)})
        return b"".join([await self._read_part(part) for part in parts])

    async def _read_part(self, part: Part) -> bytes:
        ref, start, length = part
        if ref.length <= WHOLE_BYTES:
            return (await self._whole(ref))[start : start + length]
        known = self._checksums.get(ref.sha256) or await self._verify(ref)
        first, end = block_range(start, length, ref.length)
        return checked_part(part, await self._read_range(ref, first, end - first), known)

    async def _whole(self, ref: Ref) -> bytes:
        place = (ref.key, ref.offset)
        # All watchers of a piece want its newest segment at once: the first one fetches it.
        lock = self._fetches.setdefault(place, asyncio.Lock())
        async with lock:
            kept = self._kept.get(place)
            if kept is not None and kept[0] == ref.sha256:
                self._kept.move_to_end(place)
                return kept[1]
            content = await self._read_range(ref, 0, ref.length) if ref.length else b""
            if (await self._in_thread(lambda: hashlib.sha256(content).digest())) != ref.sha256:
                raise damaged(ref)
            self._keep(ref, content)
            return content

    def _keep(self, ref: Ref, content: bytes) -> None:
        if len(content) > WHOLE_BYTES:
            return
        place = (ref.key, ref.offset)
        self._kept_bytes += len(content) - len(self._kept.pop(place, (b"", b""))[1])
        self._kept[place] = (ref.sha256, content)
        while self._kept_bytes > KEPT_BYTES:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest)

    async def _verify(self, ref: Ref) -> array[int]:
        """Compare a whole file with its digest; keep and return the checksums of its blocks."""
        digest, checksums = hashlib.sha256(), array("I")
        for start in range(0, ref.length, READ_BYTES):
            block = await self._read_range(ref, start, min(READ_BYTES, ref.length - start))
            await self._in_thread(lambda block=block: digest.update(block))  # type: ignore[misc]  # bound at once
            checksums += checksums_of(block)
        if digest.digest() != ref.sha256:
            raise damaged(ref)
        self._checksums.add(ref.sha256, checksums)
        return checksums

    async def _read_range(self, ref: Ref, start: int, length: int) -> bytes:
        written = WRITER.fullmatch(ref.key)
        check_key(written["stream"] if written else ref.key)
        if written:
            found = await self._streams.read(ref.key, ref.offset, start, length)
        else:
            found = await self._bucket.get(ref.key, ref.offset + start, length)
        if len(found) != length:
            raise ArtifactCorrupt(
                f"{ref.key}: the file is shorter than its recorded size", metadata={"artifact": ref.key}
            )
        return found

    # Files.

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Read a small file, or a range that exists."""
        if start < 0 or (length is not None and length < 0):
            raise OffsetOutOfRange(f"{key}: a range starts at 0 or later and has no negative length")
        if start == 0 and length is None:
            return await self._bucket.get(check_key(key))
        if not length:
            length = max(0, await self.size(key) - start) if length is None else 0
        if not length:
            await self.size(key)
            return b""
        found = await self._bucket.get(check_key(key), start, length)
        if len(found) < length:
            raise ArtifactCorrupt(f"{key}: the file is shorter than its recorded size")
        return found

    async def read_blocks(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Read a file in blocks."""
        size = await self.size(key)
        end = size if length is None else start + length
        if not 0 <= start <= end <= size:
            raise OffsetOutOfRange(f"{key}: the file has {size} bytes", metadata={"size": str(size)})
        while start < end:
            found = await self.get(key, start, min(READ_BYTES, end - start))
            for first in range(0, len(found), BLOCK_BYTES):
                yield found[first : first + BLOCK_BYTES]
            start += len(found)

    async def put(self, key: str, payload: bytes, *, replace: bool = False) -> Ref:
        """Write a small file."""
        check_key(key)
        await failpoints.reach(BEFORE_RENAME)
        if replace:
            await self._bucket.replace(key, payload)
        else:
            await self._bucket.create(key, payload)
        return Ref(key, 0, len(payload), hashlib.sha256(payload).digest())

    @asynccontextmanager
    async def open_writer(self, key: str, *, replace: bool = False) -> AsyncIterator[PartialWriter]:
        """Write a file in blocks on this machine, and upload it at the end."""
        async with self.local_output(key, replace=replace) as path:
            path.touch(mode=0o600)
            descriptor = os.open(path, os.O_WRONLY)
            try:
                yield PartialWriter(key, descriptor, self._in_thread)
            finally:
                os.close(descriptor)

    async def open_growing(self, key: str) -> PartialGrowingFile:
        """Start a file on this machine, which is uploaded when it is committed."""
        return PartialGrowingFile(self, key, self._partial.new(check_key(key)))

    def local_copy(self, key: str) -> AbstractAsyncContextManager[Path]:
        """Download the file."""
        return temporary_copy(self, key, self._spool)

    @asynccontextmanager
    async def local_output(self, key: str, *, replace: bool = False) -> AsyncIterator[Path]:
        """Give a path of this machine, and upload its file at the end."""
        if not replace and await self.exists(key):
            raise ArtifactExists(f"{key} already exists")
        check_key(key)
        self.check_room()
        with storage_errors(key), tempfile.TemporaryDirectory(dir=self._spool) as folder:
            path = Path(folder) / "file"
            path.touch(mode=0o600)
            yield path
            await self.publish(key, path, replace=replace)

    def check_room(self) -> None:
        """Raise StorageFull when the rest of this machine's disk is reserved."""
        self._partial.check_room()

    async def publish(self, key: str, path: Path, *, replace: bool) -> None:
        """Upload a file: at once, or in parts when it is large. Only small files are created without a race."""
        if (await self._in_thread(path.stat)).st_size <= PART_BYTES:
            await self.put(key, await self._in_thread(path.read_bytes), replace=replace)
            return
        if not replace and await self.exists(key):
            raise ArtifactExists(f"{key} already exists")
        await failpoints.reach(BEFORE_RENAME)
        await self._bucket.replace_by_file(key, path)

    async def url(self, key: str, lifetime_s: int) -> str:
        """Return a URL at which anyone can read the file for some time."""
        return await self._bucket.sign(check_key(key), lifetime_s)

    # Both.

    async def size(self, key: str) -> int:
        """Return the length of a file or a stream in bytes."""
        try:
            return (await self._bucket.head(check_key(key))).num_bytes
        except ArtifactNotFound:
            for each in _files(await self._bucket.list(key)):
                if each.key == key:
                    return each.num_bytes
            raise

    async def exists(self, key: str) -> bool:
        """Return whether the key has a file or a stream."""
        try:
            await self.size(key)
        except ArtifactNotFound:
            return False
        return True

    async def is_empty(self) -> bool:
        """Return whether the bucket has no object."""
        return await self._bucket.is_empty()

    async def list_files(self, prefix: str) -> list[StoredFile]:
        """List the files of a folder; `used` has the seconds of the last change, and a number of its version."""
        return _files(await self._bucket.list(check_key(prefix)))

    async def list_folders(self, prefix: str) -> Sequence[str]:
        """List the folders directly below a folder, by their whole names."""
        return await self._bucket.list_folders(check_key(prefix))

    async def touch(self, key: str) -> None:
        """Write the marker of a file; ArtifactNotFound when its folder is about to be deleted."""
        await self._bucket.head(check_key(key))
        folder, _, name = key.rpartition("/")
        used, deleting = f"{folder}/{USED}{name}", f"{folder}/{DELETING}"
        await self._bucket.replace(used, secrets.token_bytes(8))
        # `delete_unused` looks for this marker after it has written its own: one of the two sees the other.
        try:
            began_s = (await self._bucket.head(deleting)).modified_s
        except ArtifactNotFound:
            await self._bucket.head(key)
            return
        if (await self._bucket.head(used)).modified_s - began_s < ABANDONED_S:
            raise ArtifactNotFound(f"{key}: it is being deleted")
        await self._bucket.delete([deleting])

    async def delete_prefix(self, prefix: str) -> int:
        """Delete a key, or all keys of a folder."""
        whole = check_key(prefix.rstrip("/"))
        self._forget(whole)
        found = await self._bucket.list(whole)
        is_file = False
        with contextlib.suppress(ArtifactNotFound):
            is_file = (await self._bucket.head(whole)).name == whole
        await self._bucket.delete([each.name for each in found] + ([whole] if is_file else []))
        return len(_files(found)) + is_file

    async def delete_unused(self, prefix: str, listed: Sequence[StoredFile]) -> bool:
        """Delete a folder, unless its files were written or touched after they were listed."""
        marker = f"{check_key(prefix)}/{DELETING}"
        await self._bucket.replace(marker, b"")
        found = await self._bucket.list(prefix)
        if _files(found) != list(listed):
            await self._bucket.delete([marker])
            return False
        self._forget(prefix)
        await self._bucket.delete([each.name for each in found if each.name != marker])
        await self._bucket.delete([marker])
        return True

    async def close(self) -> None:
        """Merge the last segments and end the threads."""
        await self._streams.close()
        self._threads.shutdown(wait=True)

    def _forget(self, prefix: str) -> None:
        self._streams.forget(prefix)
        for place in [each for each in self._kept if each[0] == prefix or each[0].startswith(f"{prefix}/")]:
            self._kept_bytes -= len(self._kept.pop(place)[1])

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _files(objects: Sequence[StoredObject]) -> list[StoredFile]:
    """Return the files and streams that objects belong to, by key."""
    sizes: dict[str, dict[str, int]] = defaultdict(dict)
    versions: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for each in objects:
        segment, marker = OBJECT.fullmatch(each.name), MARKER.fullmatch(each.name)
        if segment:
            key, writer = segment["stream"], segment["writer"]
            end = int(segment["first"]) + each.num_bytes
            sizes[key][writer] = max(end, sizes[key].get(writer, 0))
        elif marker:
            if marker["name"]:
                versions[f"{marker['folder']}/{marker['name']}"].append((each.modified_s, each.etag))
            continue
        else:
            key = each.name
            sizes[key][""] = each.num_bytes
        versions[key].append((each.modified_s, each.etag))
    return [StoredFile(key, sum(sizes[key].values()), _used(versions[key])) for key in sorted(sizes)]


def _used(versions: Sequence[tuple[int, str]]) -> int:
    """Return a number that grows with the last change, and differs when anything changes within its second."""
    version = zlib.crc32(repr(sorted(versions)).encode())
    return max(modified_s for modified_s, _ in versions) * 1_000_000_000 + version % 1_000_000_000
