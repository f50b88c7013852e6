"""The contract of every artifact store. A new store is one more entry of STORES."""

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.memory_artifacts import MemoryArtifacts

from segue_runtime import errors
from segue_runtime.artifacts import ArtifactExists, ArtifactStore, FolderArtifacts, Part, Ref, check_key, folder, s3

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.runtime.s3_server import S3Server

STORES: dict[str, Callable[[Path], ArtifactStore]] = {
    "folder": lambda path: FolderArtifacts(path / "artifacts"),
    "folder, read by threads alone": lambda path: FolderArtifacts(path / "artifacts"),
    "memory": lambda _path: MemoryArtifacts(),
}
SERVERS = {"s3": "s3_server", "other s3": "other_s3_server"}
"""The stores on a server, and its fixture."""
BACKENDS = [
    *STORES,
    pytest.param("s3", marks=pytest.mark.reference("versitygw")),
    pytest.param("other s3", marks=[pytest.mark.slow, pytest.mark.reference("gofakes3")]),
]
KEY = "c/1/outputs/master.flac"


@pytest.fixture(params=BACKENDS)
async def artifacts(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ArtifactStore]:
    if "threads" in request.param:
        monkeypatch.setattr(folder, "NO_WAIT", None)
    if request.param in SERVERS:
        server: S3Server = request.getfixturevalue(SERVERS[request.param])
        store: ArtifactStore = s3.S3Artifacts(server.settings(server.new_bucket()), tmp_path)
    else:
        store = STORES[request.param](tmp_path)
    yield store
    await store.close()


async def test_segments_come_back_by_their_refs(artifacts: ArtifactStore) -> None:
    pieces = [os.urandom(size) for size in (1, 0, 96_000, 3)]
    refs = [await artifacts.append("compositions/a/draft/1", piece) for piece in pieces]
    for ref, piece in zip(refs, pieces, strict=True):
        assert await artifacts.read(ref) == piece
        assert await artifacts.read(ref) == piece
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


async def test_two_writers_never_overwrite_each_other(artifacts: ArtifactStore) -> None:
    pieces = [bytes([index]) * 5000 for index in range(40)]
    refs = await asyncio.gather(*(artifacts.append("s/1", piece) for piece in pieces))
    for ref, piece in zip(refs, pieces, strict=True):
        assert await artifacts.read(ref) == piece


@pytest.mark.parametrize(("start", "length"), [(-1, 1), (0, 101), (101, None), (50, -1)])
async def test_reading_outside_a_segment_is_out_of_range(
    artifacts: ArtifactStore, start: int, length: int | None
) -> None:
    ref = await artifacts.append("s/1", b"x" * 100)
    await artifacts.append("s/1", b"secret of the next")
    with pytest.raises(errors.OffsetOutOfRange):
        await artifacts.read(ref, start, length)


async def test_a_range_of_a_file_is_read_by_key(artifacts: ArtifactStore) -> None:
    content = os.urandom(300_000)
    await artifacts.put("takes/a/mix", content)
    assert await artifacts.get("takes/a/mix") == content
    assert await artifacts.get("takes/a/mix", 299_990) == content[299_990:]
    assert await artifacts.get("takes/a/mix", 10, 20) == content[10:30]
    assert await artifacts.get("takes/a/mix", 300_000) == b""
    with pytest.raises(errors.ArtifactCorrupt):
        await artifacts.get("takes/a/mix", 299_990, 11)
    for start, length in ((-1, 1), (5, -1)):
        with pytest.raises(errors.OffsetOutOfRange):
            await artifacts.get("takes/a/mix", start, length)
    with pytest.raises(errors.ArtifactNotFound):
        await artifacts.get("takes/b/mix", 0, 1)


async def test_a_written_file_appears_whole_or_not_at_all(artifacts: ArtifactStore) -> None:
    async def fail() -> None:
        async with artifacts.open_writer(KEY) as writer:
            await writer.write(b"half")
            assert not await artifacts.exists(KEY)
            raise RuntimeError("encoder")

    with pytest.raises(RuntimeError, match="encoder"):
        await fail()
    assert not await artifacts.exists(KEY)
    async with artifacts.open_writer(KEY) as writer:
        for _ in range(10):
            await writer.write(b"whole" * 10_000)
    blocks = [block async for block in artifacts.read_blocks(KEY)]
    assert b"".join(blocks) == b"whole" * 100_000
    assert len(blocks) > 1
    part = [block async for block in artifacts.read_blocks(KEY, 5, 7)]
    assert part == [b"wholewh"]
    with pytest.raises(errors.OffsetOutOfRange):
        _ = [block async for block in artifacts.read_blocks(KEY, 500_001)]


async def test_a_growing_file_is_read_while_it_is_written(artifacts: ArtifactStore) -> None:
    content = os.urandom(200_000)
    growing = await artifacts.open_growing(KEY)
    for start in range(0, len(content), 50_000):
        await growing.write(content[start : start + 50_000])
        assert await growing.read(start + 10, 20) == content[start + 10 : start + 30]
    assert await growing.read(0, len(content)) == content
    assert not await artifacts.exists(KEY)
    # Readers need not know when the file is committed.
    committing = asyncio.create_task(growing.commit())
    while not committing.done():
        assert await growing.read(5, 7) == content[5:12]
        await asyncio.sleep(0)
    await committing
    assert await growing.read(5, 7) == content[5:12]
    assert await artifacts.get(KEY) == content
    await growing.discard()
    assert await artifacts.get(KEY) == content


async def test_a_discarded_growing_file_never_appears(artifacts: ArtifactStore) -> None:
    await artifacts.put(KEY, b"earlier")
    for replacement in (b"", b"half"):
        growing = await artifacts.open_growing(KEY)
        await growing.write(replacement)
        await growing.discard()
        await growing.discard()
        assert await artifacts.get(KEY) == b"earlier"
    growing = await artifacts.open_growing(KEY)
    await growing.write(b"later")
    await growing.commit()
    assert await artifacts.get(KEY) == b"later"


async def test_a_local_copy_has_the_bytes_of_the_artifact(artifacts: ArtifactStore) -> None:
    content = os.urandom(3_000_000)
    await artifacts.put(KEY, content)
    async with artifacts.local_copy(KEY) as path:
        assert path.read_bytes() == content
    assert await artifacts.get(KEY) == content
    with pytest.raises(errors.ArtifactNotFound):
        async with artifacts.local_copy("c/9"):
            pass


async def test_a_local_output_appears_whole_or_not_at_all(artifacts: ArtifactStore) -> None:
    async def fail() -> Path:
        async with artifacts.local_output(KEY) as path:
            path.write_bytes(b"half")
            raise RuntimeError(path)

    with pytest.raises(RuntimeError) as caught:
        await fail()
    assert not caught.value.args[0].exists()
    assert not await artifacts.exists(KEY)
    content = os.urandom(3_000_000)
    async with artifacts.local_output(KEY) as path:
        # Encoders write a file of their own and rename it.
        other = path.with_name(f"{path.name}.part")
        other.write_bytes(content)
        other.replace(path)
    assert await artifacts.get(KEY) == content
    assert not path.exists()
    with pytest.raises(ArtifactExists):
        async with artifacts.local_output(KEY):
            pass
    async with artifacts.local_output(KEY, replace=True) as path:
        path.write_bytes(b"short")
    assert await artifacts.get(KEY) == b"short"


async def test_a_damaged_segment_is_data_loss(artifacts: ArtifactStore) -> None:
    ref = await artifacts.append("s/1", b"x" * 100)
    await artifacts.delete_prefix("s/1")
    await artifacts.append("s/1", b"y" * 100)
    with pytest.raises(errors.ArtifactCorrupt):
        await artifacts.read(ref)
    await artifacts.delete_prefix("s/1")
    await artifacts.append("s/1", b"x" * 50)
    with pytest.raises(errors.ArtifactCorrupt):
        await artifacts.read(ref)


async def test_a_flipped_bit_is_data_loss_with_the_artifacts_name(tmp_path: Path) -> None:
    """Whether the segment was read before or not, whole or in parts; other segments and ranges stay readable."""
    artifacts = FolderArtifacts(tmp_path)
    content = os.urandom(300_000)
    await artifacts.append("s/1", b"before")
    ref = await artifacts.append("s/1", content)
    await artifacts.append("s/1", b"behind")
    path = tmp_path / "s" / "1"
    stored = bytearray(path.read_bytes())
    stored[6 + 150_000] ^= 4
    assert await artifacts.read(ref, 140_000, 20_000) == content[140_000:160_000]
    path.write_bytes(stored)
    fresh = FolderArtifacts(tmp_path)
    for store in (artifacts, fresh):
        for start, length in ((0, None), (149_000, 2_000)):
            with pytest.raises(errors.ArtifactCorrupt, match="s/1") as caught:
                await store.read(ref, start, length)
            assert caught.value.metadata == {"artifact": "s/1"}
    # What was verified before the damage, and lies in other blocks, can still be read.
    assert await artifacts.read(ref, 250_000, 50_000) == content[250_000:]
    for store in (artifacts, fresh):
        await store.close()


async def test_put_does_not_replace_unless_asked(artifacts: ArtifactStore) -> None:
    await artifacts.put("c/x", b"1")
    with pytest.raises(ArtifactExists):
        await artifacts.put("c/x", b"2")
    both = await asyncio.gather(artifacts.put("c/y", b"1"), artifacts.put("c/y", b"2"), return_exceptions=True)
    assert sorted(type(each).__name__ for each in both) == ["ArtifactExists", "Ref"]
    ref = await artifacts.put("c/x", b"22", replace=True)
    assert await artifacts.read(ref) == b"22"


async def test_the_folders_of_a_folder_are_listed(artifacts: ArtifactStore) -> None:
    assert list(await artifacts.list_folders("c")) == []
    await artifacts.put("c/1/a", b"x")
    await artifacts.put("c/1/b/c", b"x")
    await artifacts.append("c/2/draft", b"x")
    await artifacts.put("cc/3/a", b"x")
    assert list(await artifacts.list_folders("c")) == ["c/1", "c/2"]
    await artifacts.delete_prefix("c/1")
    assert list(await artifacts.list_folders("c")) == ["c/2"]


async def test_delete_prefix_takes_a_folder_or_a_key(artifacts: ArtifactStore) -> None:
    assert await artifacts.is_empty()
    for key in ("c/1/a", "c/1/b/d", "c/2/a"):
        await artifacts.put(key, b"x")
    assert not await artifacts.is_empty()
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
