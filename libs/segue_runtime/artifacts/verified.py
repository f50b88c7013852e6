"""Whole artifacts that are compared with their digest while they are read."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from segue_runtime.artifacts.checksums import CHECKED_BYTES, block_range, checksums_of
from segue_runtime.errors import ArtifactCorrupt

if TYPE_CHECKING:
    from array import array
    from collections.abc import AsyncIterator
    from pathlib import Path

    from segue_runtime.artifacts.base import ArtifactStore, Part, Ref
    from segue_runtime.errors import SegueError


def damaged(ref: Ref) -> SegueError:
    """Return the error for an artifact with other bytes than those that were written."""
    return ArtifactCorrupt(
        f"{ref.key}: the stored bytes do not match their digest: they were damaged in storage",
        metadata={"artifact": ref.key},
    )


@asynccontextmanager
async def verified_copy(store: ArtifactStore, ref: Ref) -> AsyncIterator[Path]:
    """Give a local file, like `local_copy`. Raises ArtifactCorrupt before that."""
    async with store.local_copy(ref.key) as path:
        if await asyncio.to_thread(_digest, path) != ref.sha256:
            raise damaged(ref)
        yield path


async def verified_blocks(store: ArtifactStore, ref: Ref) -> AsyncIterator[bytes]:
    """Read a file in blocks. Raises ArtifactCorrupt instead of the end."""
    digest = hashlib.sha256()
    async for block in store.read_blocks(ref.key):
        digest.update(block)
        yield block
    if digest.digest() != ref.sha256:
        raise damaged(ref)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def checked_part(part: Part, blocks: bytes, known: array[int] | None) -> bytes:
    """Return the bytes of a part from the whole blocks around it, which must have the known checksums."""
    first, _ = block_range(part.start, part.length, part.ref.length)
    index = first // CHECKED_BYTES
    measured = checksums_of(blocks)
    if known is None or measured != known[index : index + len(measured)]:
        raise damaged(part.ref)
    return blocks[part.start - first : part.start - first + part.length]
