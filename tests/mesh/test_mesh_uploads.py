"""Uploads: several writers at once, lists, deletion, and limits for each owner."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.mesh.harness import embedded, stub
from tests.mesh.shapes import shape

from segue.composer.v1 import composition_pb2, files_pb2
from segue_client import SegueError
from segue_conductor import conductor
from segue_runtime import failpoints
from segue_runtime.rpc.chunks import crc32c

if TYPE_CHECKING:
    from pathlib import Path

    from segue.composer.v1.composer_pb2_grpc import ComposerServiceAsyncStub

LIMIT_S = 120


def part(name: str, offset: int, content: bytes) -> files_pb2.WriteUploadRequest:
    return files_pb2.WriteUploadRequest(upload=name, offset=offset, data=content, crc32c=crc32c(content))


async def opened(calls: ComposerServiceAsyncStub, size: int) -> str:
    answer = await calls.CreateUpload(files_pb2.CreateUploadRequest(media_type="audio/wav", size_bytes=size))
    return answer.upload.name


async def written(calls: ComposerServiceAsyncStub, name: str, offset: int, content: bytes) -> int | None:
    """Write some bytes; return the next offset, or None when other ones are there."""
    call = calls.WriteUpload(part(name, offset, content))
    if await call.code() is grpc.StatusCode.OUT_OF_RANGE:
        return None
    return (await call).upload.offset


def files_of(home: Path, name: str) -> list[Path]:
    return [path for path in (shape().artifact_folder(home) / name).rglob("*") if path.is_file()]


async def test_of_several_writers_at_one_offset_one_wins_and_its_bytes_are_kept(tmp_path: Path) -> None:
    """Two gateways of one store; each writer sends other bytes, of another length."""
    async with (
        embedded(tmp_path) as (one, _),
        embedded(tmp_path) as (two, _),
        stub(one.inner) as first,
        stub(two.inner) as second,
        asyncio.timeout(LIMIT_S),
    ):
        size, content = 1 << 20, b""
        name = await opened(first, size)
        for number in range(30):
            pieces = [bytes([number, writer]) * (1000 + 500 * writer) for writer in range(4)]
            calls = [first, second, first, second]
            offset = len(content)
            ends = await asyncio.gather(
                *(written(call, name, offset, piece) for call, piece in zip(calls, pieces, strict=True))
            )
            (winner,) = [piece for piece, end in zip(pieces, ends, strict=True) if end is not None]
            content += winner
            assert max(end for end in ends if end is not None) == len(content)
        assert len(files_of(tmp_path, name)) == 30  # the losers' bytes are gone
        content += (rest := b"r" * (size - len(content)))
        assert await written(second, name, size - len(rest), rest) == size
        digest = hashlib.sha256(content).hexdigest()
        done = await first.FinishUpload(files_pb2.FinishUploadRequest(upload=name, sha256=digest))
        assert done.upload.finished
        (file,) = files_of(tmp_path, name)
        assert file.read_bytes() == content


async def test_stored_bytes_can_be_sent_again_and_other_bytes_cannot(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (node, _), stub(node.inner) as calls:
        name = await opened(calls, 12)
        for offset, content in ((0, b"abcd"), (4, b"efgh")):
            await written(calls, name, offset, content)
        for offset, content in ((0, b"abcd"), (0, b"abcdefgh"), (3, b"def"), (7, b"h")):
            assert await written(calls, name, offset, content) == 8
        for offset, content in ((0, b"abcX"), (2, b"XX"), (3, b"deX"), (6, b"ghi")):
            with pytest.raises(grpc.aio.AioRpcError, match="next byte") as caught:
                await calls.WriteUpload(part(name, offset, content))
            assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE


async def test_a_write_whose_caller_goes_away_is_stored_whole(tmp_path: Path) -> None:
    flags: dict[str, object] = {"failpoints.active": "artifacts.before_rename=sleep(500ms)"}
    async with embedded(tmp_path, flags) as (node, client), stub(node.inner) as calls, asyncio.timeout(LIMIT_S):
        name = await opened(calls, 8)
        call = calls.WriteUpload(part(name, 0, b"abcd"))
        while not failpoints.passages("artifacts.before_rename"):  # noqa: ASYNC110 - another task comes to that place
            await asyncio.sleep(0.01)
        call.cancel()
        while [each.offset async for each in client.uploads()] != [4]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert len(files_of(tmp_path, name)) == 1


async def test_a_deleted_upload_frees_its_bytes_and_its_quota(tmp_path: Path) -> None:
    flags: dict[str, object] = {"limits.upload_bytes": "10", "limits.uploads": "2"}
    async with embedded(tmp_path, flags) as (node, client), stub(node.inner) as calls:
        unfinished = await opened(calls, 10)
        await written(calls, unfinished, 0, b"12345678")
        (file := tmp_path / "two.wav").write_bytes(b"12")
        finished = (await client.upload(file)).name
        assert [each.name async for each in client.uploads()] == [finished, unfinished]
        assert [each.finished async for each in client.uploads()] == [True, False]
        with pytest.raises(SegueError, match="2 uploads, 2 are used; delete some with DeleteUpload") as caught:
            await client.upload(file)
        assert (caught.value.reason, caught.value.metadata["unit"]) == ("QUOTA_EXCEEDED", "uploads")
        await client.delete_upload(unfinished)
        assert not files_of(tmp_path, unfinished)
        (file := tmp_path / "eight.wav").write_bytes(b"12345678")
        full = (await client.upload(file)).name
        await client.delete_upload(finished)
        with pytest.raises(SegueError, match="10 bytes, 8 are used; delete some with DeleteUpload") as caught:
            await client.upload(file)
        assert (caught.value.reason, caught.value.metadata["unit"]) == ("QUOTA_EXCEEDED", "bytes")
        assert [each.name async for each in client.uploads()] == [full]
        for name in (unfinished, finished, "uploads/0123456789abcdef"):
            with pytest.raises(grpc.aio.AioRpcError) as gone:
                await calls.DeleteUpload(files_pb2.DeleteUploadRequest(upload=name))
            assert gone.value.code() is grpc.StatusCode.NOT_FOUND
            with pytest.raises(grpc.aio.AioRpcError) as gone:
                await calls.WriteUpload(part(name, 0, b"1"))
            assert gone.value.code() is grpc.StatusCode.NOT_FOUND


async def test_uploads_are_listed_in_pages(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (node, _), stub(node.inner) as calls:
        names = [await opened(calls, 8) for _ in range(3)]
        request = files_pb2.ListUploadsRequest(page_size=2)
        first = await calls.ListUploads(request)
        await calls.DeleteUpload(files_pb2.DeleteUploadRequest(upload=names[1]))
        second = await calls.ListUploads(files_pb2.ListUploadsRequest(page_size=2, page_token=first.next_page_token))
        assert [each.name for page in (first, second) for each in page.uploads] == names[::-1]
        assert not second.next_page_token
        for token in ("abc", (await calls.ListUploads(request)).next_page_token + "A"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await calls.ListUploads(files_pb2.ListUploadsRequest(page_token=token))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        compositions = composition_pb2.ListCompositionsRequest(page_token=first.next_page_token)
        with pytest.raises(grpc.aio.AioRpcError) as caught:  # a token belongs to one list
            await calls.ListCompositions(compositions)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_upload_stays_while_a_queued_mastering_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conductor, "FILE_JOBS_AT_ONCE", 0)  # nobody begins it
    async with embedded(tmp_path) as (node, client), stub(node.inner) as calls, asyncio.timeout(LIMIT_S):
        (file := tmp_path / "tone.wav").write_bytes(b"RIFF" + bytes(64))
        source = (await client.upload(file)).name
        job = (await client.create_master(source)).name
        with pytest.raises(grpc.aio.AioRpcError, match=job) as caught:
            await calls.DeleteUpload(files_pb2.DeleteUploadRequest(upload=source))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        await client.cancel(job)
        await client.delete_upload(source)
        with pytest.raises(SegueError) as refused:
            await client.create_master(source)
        assert refused.value.reason == "ARTIFACT_NOT_FOUND"
