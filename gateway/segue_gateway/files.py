"""Uploads and downloads: files in and out of the artifact store."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Final

from segue.composer.v1 import composition_pb2, files_pb2
from segue_composition import log_rows
from segue_composition.artifact_keys import artifact_key
from segue_runtime import errors
from segue_runtime.artifacts import Ref
from segue_runtime.rpc.chunks import CHUNK_BYTES, crc32c
from segue_runtime.store import Upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue_composition.services import Services
    from segue_runtime.settings import Settings

READ_BYTES: Final = 1 << 20


class ArtifactFiles:
    """Uploads and downloads of one gateway."""

    def __init__(self, settings: Settings, services: Services) -> None:
        self._store = services.store
        self._artifacts = services.artifacts
        self._space = services.space
        self._quota_bytes = settings.limits.upload_bytes
        self._retention_s = settings.store.retention_s

    async def create_upload(self, owner: str, media_type: str, size: int) -> files_pb2.Upload:
        """Open an upload."""
        self._space.check()
        upload = Upload(name=f"uploads/{secrets.token_hex(12)}", owner=owner, media_type=media_type, size=size)
        return self._message(await self._store.create_upload(upload, quota_bytes=self._quota_bytes))

    async def write_upload(self, owner: str, request: files_pb2.WriteUploadRequest) -> files_pb2.Upload:
        """Append bytes. The same bytes are accepted twice, so that a client can repeat a call without an answer."""
        upload = await self.upload(owner, request.upload)
        if request.crc32c != crc32c(request.data):
            raise errors.InvalidField("crc32c: it does not match the data; send the bytes again")
        if upload.finished:
            raise errors.UploadFinished(f"{upload.name} is finished", metadata={"name": upload.name})
        end = request.offset + len(request.data)
        if upload.size is not None and end > upload.size:
            raise errors.OffsetOutOfRange(
                f"{upload.name} was created with a size of {upload.size} bytes", metadata={"size": str(upload.offset)}
            )
        if end <= upload.offset and request.offset < upload.offset:
            return self._message(upload)
        if request.offset != upload.offset:
            raise errors.OffsetOutOfRange(
                f"offset: the next byte of {upload.name} is {upload.offset}", metadata={"size": str(upload.offset)}
            )
        await self._artifacts.put(f"{upload.name}/part-{request.offset:012d}", request.data, replace=True)
        try:
            upload = await self._store.advance_upload(
                upload.name, request.offset, len(request.data), quota_bytes=self._quota_bytes
            )
        except errors.OffsetOutOfRange:
            # An earlier try of the same call may have stored the bytes meanwhile.
            upload = await self.upload(owner, request.upload)
            if upload.offset < end:
                raise
        return self._message(upload)

    async def finish_upload(self, owner: str, name: str, sha256: str) -> files_pb2.Upload:
        """Close an upload: join its parts and check the digest."""
        upload = await self.upload(owner, name)
        if upload.finished:
            return self._message(upload)
        if upload.offset != upload.size:
            raise errors.OffsetOutOfRange(
                f"{name} has {upload.offset} of {upload.size} bytes", metadata={"size": str(upload.offset)}
            )
        try:
            upload = await self._join_parts(upload, sha256)
        except (errors.ArtifactNotFound, errors.UploadFinished):
            # An earlier try of the same call may have finished meanwhile, and deleted the parts.
            upload = await self.upload(owner, name)
            if not upload.finished:
                raise
        return self._message(upload)

    async def _join_parts(self, upload: Upload, sha256: str) -> Upload:
        name, digest = upload.name, hashlib.sha256()
        async with self._artifacts.open_writer(artifact_key(name), replace=True) as writer:
            offset = 0
            while offset < upload.offset:
                part = f"{name}/part-{offset:012d}"
                async for block in self._artifacts.read_blocks(part):
                    digest.update(block)
                    await writer.write(block)
                    offset += len(block)
            if sha256 and sha256 != digest.hexdigest():
                raise errors.ArtifactCorrupt(
                    f"{name}: its digest is not the given one; upload the file again",
                    metadata={"sha256": digest.hexdigest()},
                )
        finished = await self._store.finish_upload(name, digest.digest())
        await self._delete_parts(upload)
        return finished

    async def _delete_parts(self, upload: Upload) -> None:
        offset = 0
        while offset < upload.offset:
            part = f"{upload.name}/part-{offset:012d}"
            size = await self._artifacts.size(part)
            await self._artifacts.delete_prefix(part)
            offset += size

    async def upload(self, owner: str, name: str) -> Upload:
        """Return an owner's upload."""
        upload = await self._store.get_upload(name)
        if upload is None or upload.owner != owner:
            raise errors.JobNotFound(f"there is no {name}, or it is not yours", metadata={"name": name})
        return upload

    async def source(self, owner: str, name: str) -> composition_pb2.Output:
        """Return the description of an output or a finished upload of this owner."""
        if name.startswith("uploads/"):
            upload = await self._store.get_upload(name)
            if upload is None or upload.owner != owner or not upload.finished:
                raise _no_artifact(name)
            return composition_pb2.Output(
                name=name,
                media_type=upload.media_type,
                size_bytes=upload.offset,
                sha256=upload.digest.hex() if upload.digest else "",
            )
        job = await self._store.get(name.partition("/outputs/")[0])
        if job is not None and job.owner == owner:
            for output in composition_pb2.Composition.FromString(job.resource).outputs:
                if output.name == name:
                    return output
        raise _no_artifact(name)

    async def download(
        self, owner: str, request: files_pb2.DownloadArtifactRequest
    ) -> AsyncIterator[files_pb2.DownloadArtifactResponse]:
        """Yield a file, or a range of it."""
        output = await self.source(owner, request.name)
        if request.read_offset > output.size_bytes:
            raise errors.OffsetOutOfRange(
                f"read_offset: {request.name} has {output.size_bytes} bytes",
                metadata={"size": str(output.size_bytes)},
            )
        rest = output.size_bytes - request.read_offset
        remaining = min(rest, request.read_limit) if request.read_limit else rest
        offset = request.read_offset
        yield files_pb2.DownloadArtifactResponse(output=output, offset=offset)
        file = Ref(artifact_key(request.name), 0, output.size_bytes, bytes.fromhex(output.sha256))
        while remaining:
            block = await self._artifacts.read(file, offset, min(READ_BYTES, remaining))
            for start in range(0, len(block), CHUNK_BYTES):
                piece = block[start : start + CHUNK_BYTES]
                yield files_pb2.DownloadArtifactResponse(offset=offset + start, data=piece, crc32c=crc32c(piece))
            offset += len(block)
            remaining -= len(block)

    def _message(self, upload: Upload) -> files_pb2.Upload:
        answer = files_pb2.Upload(
            name=upload.name,
            media_type=upload.media_type,
            size_bytes=upload.size or 0,
            offset=upload.offset,
            finished=upload.finished,
            sha256=upload.digest.hex() if upload.digest else "",
        )
        log_rows.set_time(answer.expire_time, upload.expires(self._retention_s))
        return answer


def _no_artifact(name: str) -> errors.SegueError:
    return errors.ArtifactNotFound(f"there is no {name}, or it is not yours", metadata={"name": name})
