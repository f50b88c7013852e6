"""Properties of the folder store only: durability, shared folders, full disks, killed processes."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from segue_runtime import errors
from segue_runtime.artifacts import FolderArtifacts, Ref

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def artifacts(tmp_path: Path) -> AsyncIterator[FolderArtifacts]:
    store = FolderArtifacts(tmp_path / "artifacts")
    yield store
    await store.close()


def partial_files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "artifacts" / ".partial").iterdir())


async def test_a_new_process_goes_on_after_orphans(artifacts: FolderArtifacts, tmp_path: Path) -> None:
    first = await artifacts.append("s/1", b"committed")
    await artifacts.append("s/1", b"orphan")
    second = FolderArtifacts(tmp_path / "artifacts")
    after = await second.append("s/1", b"next")
    assert await artifacts.read(first) == b"committed"
    assert await artifacts.read(after) == b"next"
    await second.close()


async def test_partial_files_of_killed_processes_are_deleted_after_a_day(
    artifacts: FolderArtifacts, tmp_path: Path
) -> None:
    async with artifacts.open_writer("outputs/a") as writer:
        await writer.write(b"still written")
        left = tmp_path / "artifacts" / ".partial" / "left"
        left.write_bytes(b"half a file")
        os.utime(left, (0, 0))
        await FolderArtifacts(tmp_path / "artifacts").close()
        assert not left.exists()
    assert await artifacts.size("outputs/a") == len(b"still written")
    assert partial_files(tmp_path) == []


async def test_a_local_copy_is_the_file_of_the_store(artifacts: FolderArtifacts, tmp_path: Path) -> None:
    await artifacts.put("uploads/a/content", b"x" * 100)
    async with artifacts.local_copy("uploads/a/content") as path:
        assert path == tmp_path / "artifacts" / "uploads/a/content"


async def test_a_full_disk_says_so_and_names_no_path(
    artifacts: FolderArtifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "/home/someone")

    kept = await artifacts.append("s/1", b"before")
    monkeypatch.setattr(os, "write", full)
    growing = await artifacts.open_growing("takes/a/mix")
    for attempt in (artifacts.append("s/1", b"x"), artifacts.put("c/1", b"x"), growing.write(b"x")):
        with pytest.raises(errors.StorageFull) as caught:
            await attempt
        assert "someone" not in caught.value.message
    await growing.discard()
    assert partial_files(tmp_path) == []
    monkeypatch.undo()
    assert await artifacts.read(kept) == b"before"


KILLED = """
import asyncio, sys, pathlib
from segue_runtime import failpoints
from segue_runtime.artifacts import FolderArtifacts
async def main():
    store = FolderArtifacts(pathlib.Path(sys.argv[1]))
    failpoints.arm(sys.argv[2])
    print((await store.append("s/1", b"first")).offset, flush=True)
    print((await store.append("s/1", b"second")).offset, flush=True)
    await store.put("c/1", b"file")
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("active", "output"), [("artifacts.after_sync=kill*2", ["0"]), ("artifacts.before_rename=kill", ["0", "5"])]
)
async def test_kill_leaves_whole_segments_and_no_half_file(
    artifacts: FolderArtifacts, tmp_path: Path, active: str, output: list[str]
) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "artifacts"), active]
    child = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert child.stdout.split() == output
    digest = hashlib.sha256(b"first").digest()
    assert await artifacts.read(Ref("s/1", 0, 5, digest)) == b"first"
    assert not await artifacts.exists("c/1")
