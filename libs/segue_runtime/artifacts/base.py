"""What every artifact store can do: segments that grow a stream, and files that are put whole."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

from segue_runtime.errors import InternalError, InvalidField

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}){0,15}", re.ASCII)
MAX_KEY_BYTES = 512


@dataclass(frozen=True, slots=True)
class Ref:
    """Where some bytes lie, and what they are: the only thing that readers ever see of a segment."""

    key: str
    offset: int
    length: int
    sha256: bytes


class Part(NamedTuple):
    """A part of a segment, in bytes from its beginning."""

    ref: Ref
    start: int
    length: int


class ArtifactExists(InternalError):  # noqa: N818 - as in the error tree
    """A file was to be made under a key that has one; not for the wire."""


def check_key(key: str) -> str:
    """Refuse a key that is not plain words between slashes: no `..`, no absolute path, nothing hidden."""
    if len(key) > MAX_KEY_BYTES or not KEY.fullmatch(key):
        raise InvalidField(f"{key[:80]!r} is not a storage key: letters, digits, `._-`, parts between slashes")
    return key


class Draft(Protocol):
    """A file that is being written; nobody sees it before `async with` ends without an error."""

    @property
    def file(self) -> BinaryIO:
        """The open file."""
        ...

    @property
    def path(self) -> Path:
        """Where it lies until then, for libraries that want a name."""
        ...

    def write_through(self, payload: bytes) -> None:
        """Append past the file's buffer, so that it can be read at once; StorageFull, as everything here."""
        ...


class ArtifactStore(Protocol):
    """Bytes by key. Missing keys raise ArtifactNotFound, a full disk StorageFull, damaged bytes ArtifactCorrupt."""

    async def append(self, stream: str, payload: bytes) -> Ref:
        """Add a segment to a stream, durably, and say where it lies. One writer a stream."""
        ...

    async def read(self, ref: Ref, start: int = 0, length: int | None = None) -> bytes:
        """Read a part of a segment, by default all."""
        ...

    async def read_parts(self, parts: Sequence[Part]) -> bytes:
        """Read parts of segments, one after the other, in one go."""
        ...

    async def read_all(self, ref: Ref) -> bytes:
        """Read a segment and check its digest."""
        ...

    def put_file(self, key: str, *, replace: bool = False) -> AbstractAsyncContextManager[Draft]:
        """Write a file that appears whole or not at all; ArtifactExists unless `replace`."""
        ...

    async def put(self, key: str, payload: bytes, *, replace: bool = False) -> Ref:
        """Write a small file whole."""
        ...

    def open_file(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Read a file in blocks."""
        ...

    async def size(self, key: str) -> int:
        """Return a file's or stream's length in bytes."""
        ...

    async def exists(self, key: str) -> bool:
        """Tell whether there is such a file or stream."""
        ...

    async def delete_prefix(self, prefix: str) -> int:
        """Delete every key below prefix (a whole key or a folder); returns how many."""
        ...

    def local_path(self, key: str) -> Path | None:
        """Return the file itself where it lies on this machine, else None."""
        ...

    async def close(self) -> None:
        """Let go of open files."""
        ...
