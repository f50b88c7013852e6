"""Artifacts as files on this machine, for what reads only files."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue_runtime.artifacts import ArtifactStore


@contextlib.asynccontextmanager
async def local_file(artifacts: ArtifactStore, key: str) -> AsyncIterator[Path]:
    """Give an artifact's own file, or a copy for as long as it is needed."""
    path = artifacts.local_path(key)
    if path is not None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="segue-file-") as folder:
        path = Path(folder) / "file"
        with path.open("wb") as copy:
            async for block in artifacts.open_file(key):
                await asyncio.to_thread(copy.write, block)
        yield path
