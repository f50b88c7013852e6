"""Downloads and URLs: files of the artifact store that callers may read or use."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from segue.composer.v1 import composition_pb2, files_pb2
from segue_composition import log_rows
from segue_composition.artifact_keys import artifact_key, find_take, is_take
from segue_composition.file_jobs import outputs_of
from segue_gateway.caller import may_reach
from segue_runtime import errors
from segue_runtime.artifacts import Ref
from segue_runtime.rpc.chunks import CHUNK_BYTES, crc32c

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from segue_composition.services import Services

READ_BYTES: Final = 1 << 20
URL_LIFETIME_S: Final = 3600


class ArtifactFiles:
    """Downloads and URLs of one gateway."""

    def __init__(self, services: Services) -> None:
        self._store = services.store
        self._artifacts = services.artifacts

    async def source(self, owner: str, name: str) -> composition_pb2.Output:
        """Return the description of an output or a finished upload of this owner."""
        return await self._found(name, lambda of_owner: of_owner == owner)

    async def check_measurable(self, owner: str, name: str) -> None:
        """Check that a source of an analysis is of this owner: an output, a finished upload, or a stored take."""
        if not is_take(name):
            await self.source(owner, name)
            return
        found = await find_take(self._store, name)
        if found is None or found[0] != owner:
            raise _no_artifact(name)

    async def _found(self, name: str, may_use: Callable[[str], bool]) -> composition_pb2.Output:
        if name.startswith("uploads/"):
            upload = await self._store.get_upload(name)
            if upload is None or not may_use(upload.owner) or not upload.finished:
                raise _no_artifact(name)
            return composition_pb2.Output(
                name=name,
                media_type=upload.media_type,
                size_bytes=upload.offset,
                sha256=upload.digest.hex() if upload.digest else "",
            )
        job = await self._store.get(name.partition("/outputs/")[0])
        if job is not None and may_use(job.owner):
            for output in outputs_of(job):
                if output.name == name:
                    return output
        raise _no_artifact(name)

    async def download(
        self, request: files_pb2.DownloadArtifactRequest
    ) -> AsyncIterator[files_pb2.DownloadArtifactResponse]:
        """Yield a file, or a range of it."""
        output = await self._found(request.name, may_reach)
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

    async def url(self, request: files_pb2.GetArtifactUrlRequest) -> files_pb2.GetArtifactUrlResponse:
        """Return a URL of a file for a limited time."""
        output = await self._found(request.name, may_reach)
        lifetime_s = request.lifetime.seconds if request.HasField("lifetime") else URL_LIFETIME_S
        began = time.time()
        url = await self._artifacts.url(artifact_key(request.name), lifetime_s)
        if url is None:
            raise errors.NotImplementedYet("this server's artifact store has no URLs: use DownloadArtifact")
        answer = files_pb2.GetArtifactUrlResponse(url=url, output=output)
        log_rows.set_time(answer.expire_time, began + lifetime_s)
        return answer


def _no_artifact(name: str) -> errors.SegueError:
    return errors.ArtifactNotFound(f"there is no {name}, or it is not yours", metadata={"name": name})
