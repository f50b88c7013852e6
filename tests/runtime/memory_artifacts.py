"""An artifact store without a folder: it shows that the contract of ArtifactStore needs no local file."""

from __future__ import annotations

import hashlib
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from segue_runtime.artifacts import ArtifactExists, Part, Ref, StoredFile, check_key
from segue_runtime.artifacts.local import temporary_copy, temporary_output
from segue_runtime.errors import ArtifactCorrupt, ArtifactNotFound, OffsetOutOfRange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

BLOCK_BYTES = 65_536


class MemoryArtifacts:
    """Every artifact is one value of a dictionary."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.used: dict[str, int] = {}

    async def append(self, stream: str, payload: bytes) -> Ref:
        earlier = self.contents.get(check_key(stream), b"")
        self.contents[stream] = earlier + payload
        return Ref(stream, len(earlier), len(payload), hashlib.sha256(payload).digest())

    async def read(self, ref: Ref, start: int = 0, length: int | None = None) -> bytes:
        return await self.read_parts([Part(ref, start, ref.length - start if length is None else length)])

    async def read_parts(self, parts: Sequence[Part]) -> bytes:
        found: list[bytes] = []
        for ref, start, length in parts:
            if start < 0 or length < 0 or start + length > ref.length:
                raise OffsetOutOfRange(f"{ref.key}: beyond the segment's end")
            content = await self.get(ref.key, ref.offset, ref.length)
            if hashlib.sha256(content).digest() != ref.sha256:
                raise ArtifactCorrupt(f"{ref.key}: the bytes do not match their digest", metadata={"artifact": ref.key})
            found.append(content[start : start + length])
        return b"".join(found)

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        if start < 0 or (length is not None and length < 0):
            raise OffsetOutOfRange(f"{key}: no such range")
        content = self._content(key)
        found = content[start:] if length is None else content[start : start + length]
        if length is not None and len(found) < length:
            raise ArtifactCorrupt(f"{key}: the file is shorter than its recorded size")
        return found

    async def read_blocks(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        size = await self.size(key)
        end = size if length is None else start + length
        if not 0 <= start <= end <= size:
            raise OffsetOutOfRange(f"{key}: the file has {size} bytes")
        for position in range(start, end, BLOCK_BYTES):
            yield await self.get(key, position, min(BLOCK_BYTES, end - position))

    async def put(self, key: str, payload: bytes, *, replace: bool = False) -> Ref:
        if check_key(key) in self.contents and not replace:
            raise ArtifactExists(f"{key} already exists")
        self.contents[key] = payload
        return Ref(key, 0, len(payload), hashlib.sha256(payload).digest())

    @asynccontextmanager
    async def open_writer(self, key: str, *, replace: bool = False) -> AsyncIterator[MemoryWriter]:
        if check_key(key) in self.contents and not replace:
            raise ArtifactExists(f"{key} already exists")
        writer = MemoryWriter()
        yield writer
        await self.put(key, bytes(writer.content), replace=replace)

    async def open_growing(self, key: str) -> MemoryGrowingFile:
        return MemoryGrowingFile(self, check_key(key))

    def local_copy(self, key: str) -> AbstractAsyncContextManager[Path]:
        return temporary_copy(self, key)

    def local_output(self, key: str, *, replace: bool = False) -> AbstractAsyncContextManager[Path]:
        return temporary_output(self, key, replace=replace)

    async def url(self, key: str, lifetime_s: int) -> None:  # noqa: ARG002 - there is no URL
        check_key(key)

    async def size(self, key: str) -> int:
        return len(self._content(key))

    async def exists(self, key: str) -> bool:
        return check_key(key) in self.contents

    async def is_empty(self) -> bool:
        return not self.contents

    async def delete_prefix(self, prefix: str) -> int:
        whole = prefix.rstrip("/")
        found = [key for key in self.contents if key == whole or key.startswith(f"{whole}/")]
        for key in found:
            del self.contents[key]
        return len(found)

    async def list_files(self, prefix: str) -> list[StoredFile]:
        found = sorted(key for key in self.contents if key.startswith(f"{prefix}/"))
        return [StoredFile(key, len(self.contents[key]), self.used.get(key, 0)) for key in found]

    async def list_folders(self, prefix: str) -> list[str]:
        below = [key.removeprefix(f"{prefix}/") for key in self.contents if key.startswith(f"{prefix}/")]
        return sorted({f"{prefix}/{key.partition('/')[0]}" for key in below if "/" in key})

    async def touch(self, key: str) -> None:
        self._content(key)
        self.used[key] = self.used.get(key, 0) + 1

    async def delete_unused(self, prefix: str, listed: Sequence[StoredFile]) -> bool:
        return await self.list_files(prefix) == list(listed) and await self.delete_prefix(prefix) > 0

    async def close(self) -> None:
        """Keep the contents: a test may look at them."""

    def _content(self, key: str) -> bytes:
        if check_key(key) not in self.contents:
            raise ArtifactNotFound(f"{key}: there is no such artifact")
        return self.contents[key]


class MemoryWriter:
    def __init__(self) -> None:
        self.content = bytearray()

    async def write(self, payload: bytes) -> None:
        self.content += payload


class MemoryGrowingFile:
    def __init__(self, store: MemoryArtifacts, key: str) -> None:
        self._store = store
        self._key = key
        self._content: bytearray | None = bytearray()

    async def write(self, payload: bytes) -> None:
        assert self._content is not None
        self._content += payload

    async def read(self, start: int, length: int) -> bytes:
        if self._content is None:
            return await self._store.get(self._key, start, length)
        return bytes(self._content[start : start + length])

    async def commit(self) -> None:
        assert self._content is not None
        await self._store.put(self._key, bytes(self._content), replace=True)
        self._content = None

    async def discard(self) -> None:
        self._content = None
