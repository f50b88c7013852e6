"""The contract of every artifact store: segments appended to streams, and files that appear whole."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from segue_runtime.errors import InternalError, InvalidField

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}){0,15}", re.ASCII)
MAX_KEY_BYTES = 512


@dataclass(frozen=True, slots=True)
class Ref:
    """The location and digest of a segment, or of a whole file. Readers see nothing else of a segment."""

    key: str
    offset: int
    length: int
    sha256: bytes


class StoredFile(NamedTuple):
    """A file of the store: its key, its length, and a number that changes whenever it is written or touched."""

    key: str
    num_bytes: int
    used: int


class Part(NamedTuple):
    """A byte range of a segment, counted from the segment's start."""

    ref: Ref
    start: int
    length: int


class ArtifactExists(InternalError):  # noqa: N818 - as in the error tree
    """The key already has a file and `replace` was not given. Never sent to clients."""


def check_key(key: str) -> str:
    """Refuse keys other than plain words separated by slashes: no `..`, no absolute path, no hidden name."""
    if len(key) > MAX_KEY_BYTES or not KEY.fullmatch(key):
        raise InvalidField(f"{key[:80]!r} is not a storage key: letters, digits, `._-`, parts separated by slashes")
    return key


class ArtifactWriter(Protocol):
    """Writes one file in order, from its first byte to its last."""

    async def write(self, payload: bytes) -> None:
        """Append bytes to the file."""
        ...


class GrowingFile(Protocol):
    """A file that can be read while it is written. It appears under its key when it is committed."""

    async def write(self, payload: bytes) -> None:
        """Append bytes; they can be read as soon as this returns."""
        ...

    async def read(self, start: int, length: int) -> bytes:
        """Read a range of the bytes written so far; works during and after a commit, too."""
        ...

    async def commit(self) -> None:
        """Make the file durable and let it appear under its key; a failed commit discards the file."""
        ...

    async def discard(self) -> None:
        """Delete the file; does nothing after a commit."""
        ...


class ArtifactStore(Protocol):
    """Bytes by key. Missing keys raise ArtifactNotFound, a full disk StorageFull, damaged bytes ArtifactCorrupt.

    No method needs the store to be on this machine. Libraries that need a local file use `local_copy` and
    `local_output`.
    """

    # Segments.

    async def append(self, stream: str, payload: bytes) -> Ref:
        """Add a segment to a stream, durably, and return its location. A stream has one writer."""
        ...

    async def read(self, ref: Ref, start: int = 0, length: int | None = None) -> bytes:
        """Read a segment or a part of it; ArtifactCorrupt when bytes do not match the segment's digest."""
        ...

    async def read_parts(self, parts: Sequence[Part]) -> bytes:
        """Read several parts of segments in one operation and return them joined; checked as `read` does."""
        ...

    # Files.

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Read a small file, or a range that the caller knows to exist; ArtifactCorrupt when the file is shorter."""
        ...

    def read_blocks(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Read a file in blocks; OffsetOutOfRange when the range is not within the file."""
        ...

    async def put(self, key: str, payload: bytes, *, replace: bool = False) -> Ref:
        """Write a small file; ArtifactExists unless `replace`."""
        ...

    def open_writer(self, key: str, *, replace: bool = False) -> AbstractAsyncContextManager[ArtifactWriter]:
        """Write a file of any size in blocks. It appears whole when the block ends, or not at all after an error."""
        ...

    async def open_growing(self, key: str) -> GrowingFile:
        """Start a file that is read while it is written; its commit replaces an earlier file of that key."""
        ...

    def local_copy(self, key: str) -> AbstractAsyncContextManager[Path]:
        """Give a file of this machine with the artifact's bytes, to read only; it may go when the block ends."""
        ...

    def local_output(self, key: str, *, replace: bool = False) -> AbstractAsyncContextManager[Path]:
        """Give a path of this machine to write to. Its file appears under the key when the block ends without error."""
        ...

    async def url(self, key: str, lifetime_s: int) -> str | None:
        """Return a URL at which anyone can read the file for some time; None if the store has no URLs."""
        ...

    # Both.

    async def size(self, key: str) -> int:
        """Return the length of a file or a stream in bytes."""
        ...

    async def exists(self, key: str) -> bool:
        """Return whether the key has a file or a stream."""
        ...

    async def is_empty(self) -> bool:
        """Return whether the store has no artifact at all."""
        ...

    async def list_files(self, prefix: str) -> Sequence[StoredFile]:
        """List the files of a folder and of the folders below it."""
        ...

    async def list_folders(self, prefix: str) -> Sequence[str]:
        """List the folders directly below a folder, by their whole names."""
        ...

    async def touch(self, key: str) -> None:
        """Mark a file as used."""
        ...

    async def delete_prefix(self, prefix: str) -> int:
        """Delete a key, or all keys of a folder; return how many were deleted."""
        ...

    async def delete_unused(self, prefix: str, listed: Sequence[StoredFile]) -> bool:
        """Delete a folder, unless its files were written or touched after they were listed; return whether it did."""
        ...

    async def close(self) -> None:
        """Release threads and connections."""
        ...
