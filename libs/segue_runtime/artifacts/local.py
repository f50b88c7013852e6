"""Temporary local files, for stores that are not folders of this machine."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue_runtime.artifacts.base import ArtifactStore

BLOCK_BYTES = 1 << 20


@asynccontextmanager
async def temporary_copy(store: ArtifactStore, key: str, within: Path | None = None) -> AsyncIterator[Path]:
    """Implement `local_copy`: download the artifact to a temporary file, which may have to be within a folder."""
    with tempfile.TemporaryDirectory(prefix="segue-copy-", dir=within) as folder:
        path = Path(folder) / "file"
        with path.open("wb") as copy:
            async for block in store.read_blocks(key):
                await asyncio.to_thread(copy.write, block)
        yield path


@asynccontextmanager
async def temporary_output(store: ArtifactStore, key: str, *, replace: bool = False) -> AsyncIterator[Path]:
    """Implement `local_output`: upload a temporary file when the block ends without error."""
    with tempfile.TemporaryDirectory(prefix="segue-output-") as folder:
        path = Path(folder) / "file"
        path.touch()
        yield path
        async with store.open_writer(key, replace=replace) as writer:
            with path.open("rb") as content:
                while block := await asyncio.to_thread(content.read, BLOCK_BYTES):
                    await writer.write(block)
