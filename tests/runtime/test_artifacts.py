"""The contract of every artifact store; each backend is one parameter."""

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
from hypothesis import given
from hypothesis import strategies as st

from segue_runtime import errors
from segue_runtime.artifacts import ArtifactExists, ArtifactStore, FolderArtifacts, Part, Ref, check_key, folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(params=["folder", "folder, by threads alone"])
async def artifacts(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ArtifactStore]:
    if request.param != "folder":
        monkeypatch.setattr(folder, "NO_WAIT", None)
    store = FolderArtifacts(tmp_path / "artifacts")
    yield store
    await store.close()


async def test_segments_come_back_by_their_refs(artifacts: ArtifactStore) -> None:
    pieces = [os.urandom(size) for size in (1, 0, 96_000, 3)]
    refs = [await artifacts.append("compositions/a/draft/1", piece) for piece in pieces]
    for ref, piece in zip(refs, pieces, strict=True):
        assert await artifacts.read(ref) == piece
        assert await artifacts.read_all(ref) == piece
        assert ref.sha256 == hashlib.sha256(piece).digest()
    assert await artifacts.read(refs[2], 10, 20) == pieces[2][10:30]
    assert await artifacts.size("compositions/a/draft/1") == 96_004


async def test_parts_of_several_segments_come_in_their_order(artifacts: ArtifactStore) -> None:
    pieces = [os.urandom(size) for size in (96_000, 5, 400_000)]
    one, two, other = [await artifacts.append(key, piece) for key, piece in zip("aab", pieces, strict=True)]
    parts = [Part(one, 90_000, 6_000), Part(two, 0, 5), Part(other, 7, 300_000), Part(two, 5, 0), Part(one, 0, 9)]
    expected = pieces[0][90_000:] + pieces[1] + pieces[2][7:300_007] + pieces[0][:9]
    assert await artifacts.read_parts(parts) == expected
    # More than is copied at once.
    assert await artifacts.read_parts([Part(other, 0, 400_000)] * 3) == pieces[2] * 3
    assert await artifacts.read_parts([]) == b""


async def test_a_new_process_goes_on_after_orphans(artifacts: ArtifactStore, tmp_path: Path) -> None:
    first = await artifacts.append("s/1", b"committed")
    await artifacts.append("s/1", b"orphan")
    second = FolderArtifacts(tmp_path / "artifacts")
    after = await second.append("s/1", b"next")
    assert await artifacts.read(first) == b"committed"
    assert await artifacts.read(after) == b"next"
    await second.close()


async def test_two_writers_never_overwrite_each_other(artifacts: ArtifactStore) -> None:
    pieces = [bytes([index]) * 5000 for index in range(40)]
    refs = await asyncio.gather(*(artifacts.append("s/1", piece) for piece in pieces))
    for ref, piece in zip(refs, pieces, strict=True):
        assert await artifacts.read_all(ref) == piece


async def test_damaged_and_cut_segments_are_data_loss(artifacts: ArtifactStore) -> None:
    ref = await artifacts.append("s/1", b"x" * 100)
    path = artifacts.local_path("s/1")
    assert path is not None
    path.write_bytes(b"y" * 100)
    with pytest.raises(errors.ArtifactCorrupt):
        await artifacts.read_all(ref)
    path.write_bytes(b"x" * 50)
    with pytest.raises(errors.ArtifactCorrupt):
        await artifacts.read(ref)


@pytest.mark.parametrize(("start", "length"), [(-1, 1), (0, 101), (101, None), (50, -1)])
async def test_reading_outside_a_segment_is_out_of_range(
    artifacts: ArtifactStore, start: int, length: int | None
) -> None:
    ref = await artifacts.append("s/1", b"x" * 100)
    await artifacts.append("s/1", b"secret of the next")
    with pytest.raises(errors.OffsetOutOfRange):
        await artifacts.read(ref, start, length)


async def test_a_file_appears_whole_or_not_at_all(artifacts: ArtifactStore) -> None:
    async def fail() -> None:
        async with artifacts.put_file("c/1/outputs/master.flac") as draft:
            draft.file.write(b"half")
            assert not await artifacts.exists("c/1/outputs/master.flac")
            raise RuntimeError("encoder")

    with pytest.raises(RuntimeError, match="encoder"):
        await fail()
    assert not await artifacts.exists("c/1/outputs/master.flac")
    async with artifacts.put_file("c/1/outputs/master.flac") as draft:
        draft.file.write(b"whole" * 100_000)
    blocks = [block async for block in artifacts.open_file("c/1/outputs/master.flac")]
    assert b"".join(blocks) == b"whole" * 100_000
    assert len(blocks) > 1
    part = [block async for block in artifacts.open_file("c/1/outputs/master.flac", 5, 7)]
    assert part == [b"wholewh"]
    with pytest.raises(errors.OffsetOutOfRange):
        _ = [block async for block in artifacts.open_file("c/1/outputs/master.flac", 500_001)]


async def test_what_a_killed_process_left_is_deleted_after_a_day(artifacts: ArtifactStore, tmp_path: Path) -> None:
    async with artifacts.put_file("outputs/a") as draft:
        draft.file.write(b"still written")
        left = draft.path.with_name("left")
        left.write_bytes(b"half a file")
        os.utime(left, (0, 0))
        await FolderArtifacts(tmp_path / "artifacts").close()
        assert not left.exists()
    assert await artifacts.size("outputs/a") == len(b"still written")


async def test_put_does_not_replace_unless_asked(artifacts: ArtifactStore) -> None:
    await artifacts.put("c/x", b"1")
    with pytest.raises(ArtifactExists):
        await artifacts.put("c/x", b"2")
    both = await asyncio.gather(artifacts.put("c/y", b"1"), artifacts.put("c/y", b"2"), return_exceptions=True)
    assert sorted(type(each).__name__ for each in both) == ["ArtifactExists", "Ref"]
    ref = await artifacts.put("c/x", b"22", replace=True)
    assert await artifacts.read_all(ref) == b"22"


async def test_delete_prefix_takes_a_folder_or_a_key(artifacts: ArtifactStore) -> None:
    for key in ("c/1/a", "c/1/b/d", "c/2/a"):
        await artifacts.put(key, b"x")
    assert await artifacts.delete_prefix("c/1/") == 2
    assert not await artifacts.exists("c/1/a")
    assert await artifacts.exists("c/2/a")
    assert await artifacts.delete_prefix("c/2/a") == 1
    assert await artifacts.delete_prefix("c/9") == 0
    with pytest.raises(errors.ArtifactNotFound):
        await artifacts.read(Ref("c/1/a", 0, 1, b""))
    with pytest.raises(errors.ArtifactNotFound):
        await artifacts.size("c/1/a")


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../b", "a//b", ".hidden", "a/.b", "a\0b", "a/", "é", "a" * 600]
)
async def test_keys_cannot_leave_the_store(artifacts: ArtifactStore, key: str) -> None:
    for attempt in (artifacts.append(key, b""), artifacts.put(key, b""), artifacts.size(key), artifacts.exists(key)):
        with pytest.raises(errors.InvalidField):
            await attempt


@given(st.text(max_size=60))
def test_an_accepted_key_stays_below_the_folder(key: str) -> None:
    try:
        check_key(key)
    except errors.InvalidField:
        return
    assert os.path.normpath(key) == key
    assert not key.startswith("/")


async def test_a_full_disk_says_so_and_names_no_path(artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "/home/someone")

    kept = await artifacts.append("s/1", b"before")
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(errors.StorageFull) as caught:
        await artifacts.append("s/1", b"x")
    assert "someone" not in caught.value.message
    monkeypatch.undo()
    assert await artifacts.read_all(kept) == b"before"


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
    ("active", "told"), [("artifacts.after_sync=kill*2", ["0"]), ("artifacts.before_rename=kill", ["0", "5"])]
)
async def test_kill_leaves_whole_segments_and_no_half_file(
    artifacts: ArtifactStore, tmp_path: Path, active: str, told: list[str]
) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "artifacts"), active]
    child = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert child.stdout.split() == told
    digest = hashlib.sha256(b"first").digest()
    assert await artifacts.read_all(Ref("s/1", 0, 5, digest)) == b"first"
    assert not await artifacts.exists("c/1")
