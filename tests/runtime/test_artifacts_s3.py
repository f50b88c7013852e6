"""Properties of the S3 store only: objects, merging, several processes, faults of the network and of the store."""

from __future__ import annotations

import asyncio
import hashlib
import os
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from tests.runtime.s3_server import SECRET, BreakingProxy

from segue_runtime import errors
from segue_runtime.artifacts import Ref
from segue_runtime.artifacts.s3 import S3Artifacts, streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.runtime.s3_server import S3Server

pytestmark = pytest.mark.reference("versitygw")


class Opens:
    """Opens stores, as several processes do."""

    def __init__(self, server: S3Server, tmp_path: Path) -> None:
        self.server = server
        self.bucket = server.new_bucket()
        self._tmp_path = tmp_path
        self._opened: list[S3Artifacts] = []

    def __call__(self, **settings: object) -> S3Artifacts:
        found = S3Artifacts(self.server.settings(self.bucket, **settings), self._tmp_path / "spool")
        self._opened.append(found)
        return found

    def objects(self) -> list[Path]:
        """Return the objects as files of the server."""
        folder = self.server.folder / self.bucket
        return sorted(path for path in folder.rglob("*") if path.is_file() and ".sgwtmp" not in path.parts)

    async def close(self) -> None:
        for each in self._opened:
            await each.close()


@pytest.fixture
async def proxy(s3_server: S3Server) -> AsyncIterator[BreakingProxy]:
    async with BreakingProxy(s3_server.port) as found:
        yield found


@pytest.fixture
async def opens(s3_server: S3Server, proxy: BreakingProxy, tmp_path: Path) -> AsyncIterator[Opens]:
    """Stores are closed before the proxy, since their last merges need it."""
    assert proxy.port
    found = Opens(s3_server, tmp_path)
    yield found
    await found.close()


async def test_a_minute_of_segments_needs_few_objects_and_every_reader_finds_them(
    opens: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "IDLE_S", 3600.0)
    writer, early = opens(), opens()
    sections = [[os.urandom(length) for length in (800, 2_000, 4_000, *[8_000] * 9)] for _ in range(6)]
    refs: list[tuple[Ref, bytes]] = []
    for index, pieces in enumerate(sections):
        for piece in pieces:
            ref = await writer.append(f"c/1/draft/{index:03d}-1", piece)
            refs.append((ref, piece))
            assert await early.read(ref) == piece
    assert len(refs) == 72
    await writer.close()
    assert len(opens.objects()) <= 12
    late = opens()
    for store in (early, late):
        for ref, piece in refs:
            assert await store.read(ref, 1, 700) == piece[1:701]
            assert await store.read(ref) == piece
    listed = await late.list_files("c/1")
    assert [each.num_bytes for each in listed] == [sum(map(len, pieces)) for pieces in sections]
    assert await late.delete_prefix("c/1") == 6
    assert opens.objects() == []


async def test_segments_are_merged_while_others_come(opens: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "IDLE_S", 0.0)
    writer, reader = opens(), opens()
    pieces = [os.urandom(500) for _ in range(60)]
    refs = []
    for piece in pieces:
        refs.append(await writer.append("s/1", piece))
        await asyncio.sleep(0)
    reading = [reader.read(ref) for ref in refs]
    assert await asyncio.gather(*reading) == pieces
    assert await reader.size("s/1") == 30_000


async def test_a_stream_that_another_process_deletes_is_not_written_again_by_its_merge(
    opens: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "IDLE_S", 3600.0)
    writer, deleting = opens(), opens()
    for _ in range(3):
        await writer.append("c/1/draft/000-1", b"segment")
    await deleting.delete_prefix("c/1")
    await writer.close()  # merges what is left
    assert opens.objects() == []


async def test_a_deposed_writer_changes_nothing_of_its_successor(opens: Opens) -> None:
    deposed, successor = opens(), opens()
    first = await deposed.append("s/1", b"of the deposed")
    refs = [await store.append("s/1", content) for content in (b"1", b"2") for store in (successor, deposed)]
    await deposed.close()
    await successor.close()
    reader = opens()
    assert [await reader.read(ref) for ref in refs] == [b"1", b"1", b"2", b"2"]
    assert await reader.read(first) == b"of the deposed"


async def test_many_readers_of_a_segment_fetch_it_once(opens: Opens, proxy: BreakingProxy) -> None:
    piece = os.urandom(200_000)
    ref = await opens().append("s/1", piece)
    reader = opens(endpoint=f"http://127.0.0.1:{proxy.port}")
    found = await asyncio.gather(*(reader.read(ref, start, 100) for start in range(20)))
    assert found == [piece[start : start + 100] for start in range(20)]
    assert proxy.num_reads == 1


async def test_a_flipped_bit_is_data_loss_with_the_artifacts_name(opens: Opens) -> None:
    writer, reader = opens(), opens()
    small = await writer.append("s/1", os.urandom(100_000))
    large = await writer.put("c/large", os.urandom(6_000_000))
    for path in opens.objects():
        stored = bytearray(path.read_bytes())
        stored[50_000] ^= 4
        path.write_bytes(stored)
    for ref in (small, large):
        with pytest.raises(errors.ArtifactCorrupt) as caught:
            await reader.read(ref, 10, 20)
        assert caught.value.metadata == {"artifact": ref.key}


async def test_a_large_file_comes_back_whole_and_in_ranges(opens: Opens, tmp_path: Path) -> None:
    store = opens()
    content = os.urandom(20_000_000)
    growing = await store.open_growing("takes/a/b/mix")
    await growing.write(content)
    await growing.commit()
    reader = opens()
    ref = Ref("takes/a/b/mix", 0, len(content), hashlib.sha256(content).digest())
    assert await reader.read(ref, 12_345_678, 1_000_000) == content[12_345_678:13_345_678]
    assert b"".join([block async for block in reader.read_blocks(ref.key, 5)]) == content[5:]
    assert list((tmp_path / "spool" / ".partial").iterdir()) == []


async def test_a_touched_or_new_file_is_not_deleted(opens: Opens) -> None:
    user, cleaner = opens(), opens()
    key = "takes/o/k/take.json"
    await user.put(key, b"1")
    await user.put("takes/o/k/mix", b"2")
    for change in (user.touch(key), user.put("takes/o/k/bass", b"3"), user.put(key, b"4", replace=True)):
        listed = await cleaner.list_files("takes/o/k")
        await change
        assert not await cleaner.delete_unused("takes/o/k", listed)
    listed = await cleaner.list_files("takes/o/k")
    assert [each.key for each in listed] == ["takes/o/k/bass", "takes/o/k/mix", key]
    assert await cleaner.delete_unused("takes/o/k", listed)
    assert opens.objects() == []
    with pytest.raises(errors.ArtifactNotFound):
        await user.touch(key)


async def test_a_file_that_is_being_deleted_counts_as_deleted(opens: Opens) -> None:
    store = opens()
    await store.put("takes/o/k/take.json", b"1")
    marker = opens.server.folder / opens.bucket / "takes" / "o" / "k" / ".deleting"
    marker.touch()
    assert [each.key for each in await store.list_files("takes")] == ["takes/o/k/take.json"]
    with pytest.raises(errors.ArtifactNotFound):
        await store.touch("takes/o/k/take.json")
    # Whoever began this was killed.
    os.utime(marker, (0, 0))
    await store.touch("takes/o/k/take.json")
    assert not marker.exists()


async def test_a_file_is_either_touched_or_deleted(opens: Opens) -> None:
    """Whatever the order of their requests is."""
    user, cleaner = opens(), opens()
    for number in range(10):
        folder = f"takes/o/k{number}"
        await user.put(f"{folder}/take.json", b"1")
        listed = await cleaner.list_files(folder)
        touched, deleted = await asyncio.gather(
            user.touch(f"{folder}/take.json"), cleaner.delete_unused(folder, listed), return_exceptions=True
        )
        assert not (touched is None and deleted is True)
        if touched is None:
            assert await user.get(f"{folder}/take.json") == b"1"


async def test_a_url_gives_the_file_until_it_expires(opens: Opens) -> None:
    store = opens(prefix="segue/one")
    await store.put("c/1/outputs/master.flac", b"content")
    url = await store.url("c/1/outputs/master.flac", 60)

    def fetch(address: str) -> bytes:
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - the server's own URL
            return bytes(answer.read())

    assert await asyncio.to_thread(fetch, url) == b"content"
    assert SECRET not in url
    with pytest.raises(urllib.error.HTTPError):
        await asyncio.to_thread(fetch, url.replace("master.flac", "other.flac"))
    with pytest.raises(errors.InvalidField):
        await store.url("../other", 60)


# Faults.


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"secret_key": "wrong"}, "artifacts.s3.secret_key"),
        ({"access_key": "nobody"}, "artifacts.s3.access_key"),
        ({"endpoint": "http://127.0.0.1:9", "patience_s": 0.2}, "artifacts.s3.endpoint"),
    ],
)
async def test_wrong_settings_are_named(opens: Opens, settings: dict[str, object], hint: str) -> None:
    store = opens(**settings)
    for attempt in (store.is_empty(), store.append("s/1", b"x"), store.get("c/1"), store.list_files("c")):
        with pytest.raises(errors.StoreUnavailable, match=hint) as caught:
            await attempt
        assert "wrong" not in caught.value.message


async def test_a_missing_bucket_is_named(opens: Opens) -> None:
    opens.bucket = "missing-bucket"
    store = opens()
    for attempt in (store.is_empty(), store.append("s/1", b"x"), store.put("c/1", b"x")):
        with pytest.raises(errors.StoreUnavailable, match="no bucket 'missing-bucket'"):
            await attempt


@pytest.mark.parametrize(("status", "code"), [("507 Full", "InsufficientStorage"), ("400 No", "QuotaExceeded")])
async def test_a_full_store_says_so_at_once(opens: Opens, proxy: BreakingProxy, status: str, code: str) -> None:
    store = opens(endpoint=f"http://127.0.0.1:{proxy.port}")
    kept = await store.append("s/1", b"before")
    proxy.fail_with(status, code)
    for attempt in (store.append("s/1", b"x"), store.put("c/1", b"x", replace=True)):
        with pytest.raises(errors.StorageFull):
            await attempt
    proxy.mend()
    assert await store.read(await store.append("s/1", b"after")) == b"after"
    assert await opens().read(kept) == b"before"


def slow_down(proxy: BreakingProxy) -> None:
    proxy.fail_with("503 Slow Down", "SlowDown")


def stall(proxy: BreakingProxy) -> None:
    proxy.delay_s = 60
    proxy.cut()


@pytest.mark.parametrize("break_it", [slow_down, stall])
async def test_work_waits_for_the_store_and_continues(
    opens: Opens, proxy: BreakingProxy, break_it: Callable[[BreakingProxy], None]
) -> None:
    store = opens(endpoint=f"http://127.0.0.1:{proxy.port}", timeout_s=0.5)
    first = await store.append("s/1", b"first")
    break_it(proxy)
    before = proxy.num_connections
    works: list[Awaitable[object]] = [store.append("s/1", b"second"), store.put("c/1", b"x"), store.exists("c/2")]
    tasks = [asyncio.ensure_future(work) for work in works]
    await proxy.wait_for_connections(before + 6)
    assert not any(task.done() for task in tasks)
    proxy.mend()
    proxy.cut()
    second, _, exists = await asyncio.gather(*tasks)
    assert exists is False
    assert isinstance(second, Ref)
    assert [await opens().read(ref) for ref in (first, second)] == [b"first", b"second"]


async def test_a_store_that_stays_away_is_unavailable(opens: Opens, proxy: BreakingProxy) -> None:
    store = opens(endpoint=f"http://127.0.0.1:{proxy.port}", patience_s=0.5)
    slow_down(proxy)
    with pytest.raises(errors.StoreUnavailable, match="HTTP 503") as caught:
        await store.append("s/1", b"x")
    assert caught.value.retry_after_s
    proxy.mend()
    assert await store.read(await store.append("s/1", b"x")) == b"x"


async def test_a_lost_answer_is_no_other_writer(opens: Opens, proxy: BreakingProxy) -> None:
    store = opens(endpoint=f"http://127.0.0.1:{proxy.port}")
    await store.is_empty()
    for number in range(3):
        proxy.lose_answers = 1
        await store.put(f"c/{number}", b"content")
        proxy.lose_answers = 1
        assert await store.read(await store.append("s/1", b"segment")) == b"segment"
    assert proxy.lose_answers == 0
    reader = opens()
    assert await reader.size("s/1") == 21
    assert await reader.get("c/2") == b"content"
