"""Files over the wire: downloads and uploads that go on where a break left them, checked piece by piece."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Final

import google_crc32c
import grpc

from segue.composer.v1 import files_pb2
from segue_client.checking import damaged
from segue_client.errors import DamagedAudio, SegueError
from segue_client.files import whole_file
from segue_client.link import read_within
from segue_client.patience import Patience, passes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from segue.composer.v1.composition_pb2 import Output
    from segue_client.link import Link

UPLOAD_PIECE_BYTES: Final = 1 << 19


async def download(link: Link, output: Output, target: Path, *, replace: bool = False) -> None:
    """Write an output to a file: whole, with the announced digest, or not at all."""
    with whole_file(target, replace=replace) as draft:
        async for piece in read(link, output):
            draft.write(piece)
        if output.sha256 and draft.sha256 != output.sha256:
            raise DamagedAudio(grpc.StatusCode.DATA_LOSS, f"{output.name} came with another digest than announced")
        await asyncio.to_thread(draft.keep)


async def read(link: Link, output: Output) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of an output, checked."""
    offset = 0
    patience = Patience(link.clock, link.patience_s)
    while offset < output.size_bytes:
        async with link.stub() as stub:
            request = files_pb2.DownloadArtifactRequest(name=output.name, read_offset=offset)
            call = stub.DownloadArtifact(request, metadata=link.metadata)
            try:
                while response := await read_within(call, link.silence_s):
                    link.answered = True
                    if response.data:
                        _check(output, response, offset)
                        offset += len(response.data)
                        patience.moved()
                        yield response.data
                failure = SegueError(grpc.StatusCode.UNAVAILABLE, f"{output.name} ended at byte {offset}")
            except SegueError as error:
                failure = error
            finally:
                call.cancel()
            if offset < output.size_bytes and passes(failure):
                link.renew(stub)
        if offset < output.size_bytes:
            await patience.wait(failure)


def _check(output: Output, response: files_pb2.DownloadArtifactResponse, offset: int) -> None:
    if response.offset != offset or offset + len(response.data) > output.size_bytes:
        raise damaged(f"{output.name} goes on at byte {response.offset} where {offset} was due")
    if google_crc32c.value(response.data) != response.crc32c:
        raise damaged(f"the checksum of {output.name} at byte {offset} is wrong")


async def upload(link: Link, path: Path, media_type: str) -> files_pb2.Upload:
    """Send a file."""
    size = (await asyncio.to_thread(path.stat)).st_size
    request = files_pb2.CreateUploadRequest(media_type=media_type, size_bytes=size)
    created = (await link.call(lambda stub: stub.CreateUpload, request)).upload
    digest = hashlib.sha256()
    with await asyncio.to_thread(path.open, "rb") as file:
        offset = 0
        while piece := await asyncio.to_thread(file.read, UPLOAD_PIECE_BYTES):
            digest.update(piece)
            write = files_pb2.WriteUploadRequest(
                upload=created.name, offset=offset, data=piece, crc32c=google_crc32c.value(piece)
            )
            await link.call(lambda stub: stub.WriteUpload, write)
            offset += len(piece)
    finish = files_pb2.FinishUploadRequest(upload=created.name, sha256=digest.hexdigest())
    return (await link.call(lambda stub: stub.FinishUpload, finish)).upload
