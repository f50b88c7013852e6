"""Uploads: files that callers send in parts, and that jobs use."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from typing import TYPE_CHECKING, Any, TypeVar

from segue.composer.v1 import files_pb2
from segue_composition import log_rows
from segue_composition.artifact_keys import artifact_key
from segue_gateway import listing
from segue_gateway.caller import may_reach
from segue_gateway.seal import Seal
from segue_runtime import errors
from segue_runtime.rpc.chunks import crc32c
from segue_runtime.store import Upload, UploadPart

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from segue_composition.services import Services
    from segue_gateway.tenancy import Tenancy
    from segue_runtime.settings import Settings

T = TypeVar("T")


class UploadFiles:
    """The uploads of one gateway. Several gateways may write to one upload."""

    def __init__(self, settings: Settings, services: Services, tenancy: Tenancy) -> None:
        self._store = services.store
        self._artifacts = services.artifacts
        self._space = services.space
        self._limits = settings.limits
        self._tenancy = tenancy
        self._retention_s = settings.store.retention_s
        self._page_tokens = listing.PageTokens(Seal(services.store.token_key))

    async def create(self, owner: str, media_type: str, size: int) -> files_pb2.Upload:
        """Open an upload."""
        self._space.check()
        upload = Upload(name=f"uploads/{secrets.token_hex(12)}", owner=owner, media_type=media_type, size=size)
        created = await self._store.create_upload(
            upload,
            quota_bytes=self._limits.upload_bytes,
            max_uploads=self._limits.uploads,
            storage_bytes=self._tenancy.tenant.storage_bytes,
        )
        return self._message(created)

    async def list(
        self, caller: str, owner: str | None, request: files_pb2.ListUploadsRequest
    ) -> files_pb2.ListUploadsResponse:
        """Return a page of the uploads of an owner, or of all (None)."""
        query = listing.UPLOADS + request.filter
        page = await self._store.list_uploads(
            owner,
            limit=listing.page_size(request.page_size),
            after=self._page_tokens.decode(request.page_token, caller, query),
        )
        return files_pb2.ListUploadsResponse(
            uploads=[self._message(upload) for upload in page.uploads],
            next_page_token=self._page_tokens.encode(page.after, caller, query),
        )

    async def write(self, owner: str, request: files_pb2.WriteUploadRequest) -> files_pb2.Upload:
        """Append bytes. The same bytes are accepted twice, so that a client can repeat a call without an answer."""
        upload = await self._find(owner, request.upload)
        if request.crc32c != crc32c(request.data):
            raise errors.InvalidField("crc32c: it does not match the data; send the bytes again")
        _refuse_finished(upload)
        end = request.offset + len(request.data)
        if upload.size is not None and end > upload.size:
            raise errors.OffsetOutOfRange(
                f"{upload.name} was created with a size of {upload.size} bytes", metadata={"size": str(upload.offset)}
            )
        if request.offset == upload.offset:
            try:
                return self._message(await _uncancelled(self._append(request)))
            except (errors.OffsetOutOfRange, errors.UploadFinished, errors.ArtifactNotFound):
                # Another call was faster: it may have stored the same bytes.
                upload = await self._find(owner, request.upload)
                _refuse_finished(upload)
        if end > upload.offset:
            raise errors.OffsetOutOfRange(
                f"offset: the next byte of {upload.name} is {upload.offset}", metadata={"size": str(upload.offset)}
            )
        if await self._has_stored(request):
            return self._message(upload)
        _refuse_finished(await self._find(owner, request.upload))
        raise errors.OffsetOutOfRange(
            f"offset: {upload.name} has other bytes from {request.offset} on; its next byte is {upload.offset}",
            metadata={"size": str(upload.offset)},
        )

    async def _append(self, request: files_pb2.WriteUploadRequest) -> Upload:
        """Store the next bytes. Each call writes a file of its own; the store decides which one counts."""
        part = UploadPart(request.offset, len(request.data), f"{request.upload}/parts/{secrets.token_hex(12)}")
        await self._artifacts.put(part.key, request.data)
        try:
            return await self._store.advance_upload(
                request.upload,
                part,
                quota_bytes=self._limits.upload_bytes,
                storage_bytes=self._tenancy.tenant.storage_bytes,
            )
        except errors.SegueError as error:
            was_deleted = isinstance(error, errors.ArtifactNotFound)
            await self._artifacts.delete_prefix(request.upload if was_deleted else part.key)
            raise

    async def _has_stored(self, request: files_pb2.WriteUploadRequest) -> bool:
        """Return whether the upload has these bytes at their place."""
        end = request.offset + len(request.data)
        stored: list[bytes] = []
        with contextlib.suppress(errors.ArtifactNotFound):  # it was finished or deleted meanwhile
            for part in await self._store.upload_parts(request.upload, request.offset, end):
                first, last = max(request.offset, part.offset), min(end, part.offset + part.length)
                stored.append(await self._artifacts.get(part.key, first - part.offset, last - first))
        return b"".join(stored) == request.data

    async def finish(self, owner: str, name: str, sha256: str) -> files_pb2.Upload:
        """Close an upload: join its parts and check the digest."""
        upload = await self._find(owner, name)
        if upload.finished:
            return self._message(upload)
        if upload.offset != upload.size:
            raise errors.OffsetOutOfRange(
                f"{name} has {upload.offset} of {upload.size} bytes", metadata={"size": str(upload.offset)}
            )
        try:
            upload = await _uncancelled(self._join_parts(upload, sha256))
        except (errors.ArtifactNotFound, errors.UploadFinished):
            # An earlier try of the same call may have finished meanwhile, and deleted the parts.
            upload = await self._find(owner, name)
            if not upload.finished:
                raise
        return self._message(upload)

    async def _join_parts(self, upload: Upload, sha256: str) -> Upload:
        name, digest = upload.name, hashlib.sha256()
        async with self._artifacts.open_writer(artifact_key(name), replace=True) as writer:
            num_bytes = 0
            for part in await self._store.upload_parts(name):
                async for block in self._artifacts.read_blocks(part.key, 0, part.length):
                    digest.update(block)
                    await writer.write(block)
                    num_bytes += len(block)
            if num_bytes != upload.size:
                raise errors.ArtifactNotFound(f"{name}: its parts are not there any more", metadata={"name": name})
            if sha256 and sha256 != digest.hexdigest():
                raise errors.ArtifactCorrupt(
                    f"{name}: its digest is not the given one; upload the file again",
                    metadata={"sha256": digest.hexdigest()},
                )
        try:
            finished = await self._store.finish_upload(name, digest.digest())
        except errors.ArtifactNotFound:  # it was deleted meanwhile
            await self._artifacts.delete_prefix(name)
            raise
        await self._artifacts.delete_prefix(f"{name}/parts")
        return finished

    async def delete(self, name: str) -> None:
        """Delete an upload that no unfinished job needs. After an interruption a conductor deletes the rest."""
        upload = await self._store.get_upload(name)
        if upload is None or not may_reach(upload.owner):
            raise errors.ArtifactNotFound(f"there is no {name}, or it is not yours", metadata={"name": name})
        await self._store.discard_upload(name)
        with contextlib.suppress(errors.ArtifactNotFound):  # a write deletes its own bytes at the same time
            await self._artifacts.delete_prefix(name)
            await self._store.delete_upload(name)

    async def _find(self, owner: str, name: str) -> Upload:
        upload = await self._store.get_upload(name)
        if upload is None or upload.owner != owner:
            raise errors.JobNotFound(f"there is no {name}, or it is not yours", metadata={"name": name})
        return upload

    def _message(self, upload: Upload) -> files_pb2.Upload:
        answer = files_pb2.Upload(
            name=upload.name,
            owner=upload.owner,
            media_type=upload.media_type,
            size_bytes=upload.size or 0,
            offset=upload.offset,
            finished=upload.finished,
            sha256=upload.digest.hex() if upload.digest else "",
        )
        log_rows.set_time(answer.expire_time, upload.expires(self._retention_s))
        return answer


def _refuse_finished(upload: Upload) -> None:
    if upload.finished:
        raise errors.UploadFinished(f"{upload.name} is finished", metadata={"name": upload.name})


async def _uncancelled(work: Coroutine[Any, Any, T]) -> T:
    """Finish some work even if the caller goes away: half of it would leave bytes that no row counts."""
    working = asyncio.create_task(work)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise
