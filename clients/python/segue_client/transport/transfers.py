"""Downloads and uploads: resumed after a break, and checked piece by piece."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import google_crc32c
import grpc

from segue.composer.v1 import files_pb2
from segue_client.errors import DamagedAudio, SegueError
from segue_client.files import atomic_file
from segue_client.transport.connection import read_within
from segue_client.transport.retry import RetryBackoff, is_temporary
from segue_client.transport.stream_check import damaged

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from segue.composer.v1.composition_pb2 import Output
    from segue_client.transport.connection import Connection

UPLOAD_PIECE_BYTES: Final = 1 << 19


async def download(connection: Connection, output: Output, target: Path, *, replace: bool = False) -> None:
    """Write an output to a file: complete and with the announced digest, or not at all."""
    with atomic_file(target, replace=replace) as file:
        async for piece in read(connection, output):
            file.write(piece)
        if output.sha256 and file.sha256 != output.sha256:
            raise DamagedAudio(grpc.StatusCode.DATA_LOSS, f"{output.name} does not have the announced digest")
        await asyncio.to_thread(file.keep)


async def read(connection: Connection, output: Output) -> AsyncGenerator[bytes, None]:
    """Yield the checked bytes of an output."""
    offset = 0
    backoff = RetryBackoff(connection.clock, connection.patience_s)
    while offset < output.size_bytes:
        async with connection.stub() as stub:
            request = files_pb2.DownloadArtifactRequest(name=output.name, read_offset=offset)
            call = stub.DownloadArtifact(request, metadata=connection.metadata)
            try:
                while response := await read_within(call, connection.silence_s):
                    connection.answered = True
                    if response.data:
                        _check(output, response, offset)
                        offset += len(response.data)
                        backoff.record_progress()
                        yield response.data
                failure = SegueError(grpc.StatusCode.UNAVAILABLE, f"{output.name} ended at byte {offset}")
            except SegueError as error:
                failure = error
            finally:
                call.cancel()
            if offset < output.size_bytes and is_temporary(failure):
                connection.renew(stub)
        if offset < output.size_bytes:
            await backoff.wait(failure)


def _check(output: Output, response: files_pb2.DownloadArtifactResponse, offset: int) -> None:
    if response.offset != offset or offset + len(response.data) > output.size_bytes:
        raise damaged(f"{output.name} continues at byte {response.offset} instead of {offset}")
    if _crc32c(response.data) != response.crc32c:
        raise damaged(f"the checksum of {output.name} at byte {offset} is wrong")


async def upload(connection: Connection, source: Path | BinaryIO, media_type: str) -> files_pb2.Upload:
    """Upload a file: one that is opened here, or one that the caller has opened, from its start."""
    if isinstance(source, Path):
        with await asyncio.to_thread(source.open, "rb") as file:
            return await _upload(connection, file, media_type)
    return await _upload(connection, source, media_type)


async def _upload(connection: Connection, file: BinaryIO, media_type: str) -> files_pb2.Upload:
    size = await asyncio.to_thread(file.seek, 0, os.SEEK_END)
    await asyncio.to_thread(file.seek, 0)
    request = files_pb2.CreateUploadRequest(media_type=media_type, size_bytes=size)
    created = (await connection.call(lambda stub: stub.CreateUpload, request)).upload
    digest = hashlib.sha256()
    offset = 0
    while piece := await asyncio.to_thread(file.read, UPLOAD_PIECE_BYTES):
        digest.update(piece)
        write = files_pb2.WriteUploadRequest(upload=created.name, offset=offset, data=piece, crc32c=_crc32c(piece))
        await connection.call(lambda stub: stub.WriteUpload, write)
        offset += len(piece)
    finish = files_pb2.FinishUploadRequest(upload=created.name, sha256=digest.hexdigest())
    return (await connection.call(lambda stub: stub.FinishUpload, finish)).upload


def _crc32c(piece: bytes) -> int:
    return int(google_crc32c.value(piece))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] # untyped
