"""Uploads in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue_runtime.store import uploads as rules
from segue_runtime.store.records import UNFINISHED_UPLOAD_S, UploadPage
from segue_runtime.store.redis.rows import id_of, option, part_of, upload_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_runtime.store.records import Upload, UploadPart
    from segue_runtime.store.redis.scripts import RedisScripts


class RedisUploads:
    """Uploads documents the methods."""

    _scripts: RedisScripts
    _retention_s: float

    async def create_upload(
        self, upload: Upload, *, quota_bytes: int, max_uploads: int, storage_bytes: int | None = None
    ) -> Upload:
        answer = await self._scripts.call(
            "uploads", "create_upload",
            upload.name, upload.owner, upload.media_type, option(upload.size), quota_bytes, max_uploads,
            option(storage_bytes),
            repeats=True,
        )  # fmt: skip
        return upload_of(*answer)

    async def get_upload(self, name: str) -> Upload | None:
        (flat,) = await self._scripts.call("uploads", "get_upload", name, repeats=True)
        return upload_of(name, flat) if flat else None

    async def list_uploads(self, owner: str | None, *, limit: int = 50, after: int | None = None) -> UploadPage:
        before = "+inf" if after is None else f"({after}"
        (found,) = await self._scripts.call("uploads", "list_uploads", option(owner), before, limit + 1, repeats=True)
        some = [upload_of(*each) for each in found[:limit]]
        return UploadPage(some, id_of(found[limit - 1][1]) if len(found) > limit else None)

    async def advance_upload(
        self, name: str, part: UploadPart, *, quota_bytes: int, storage_bytes: int | None = None
    ) -> Upload:
        answer = await self._scripts.call(
            "uploads", "advance_upload",
            name, part.offset, part.length, part.key, quota_bytes, rules.MAX_PARTS, option(storage_bytes),
        )  # fmt: skip
        return upload_of(*answer)

    async def upload_parts(self, name: str, start: int = 0, end: int | None = None) -> Sequence[UploadPart]:
        (members,) = await self._scripts.call("uploads", "upload_parts", name, repeats=True)
        parts = [part_of(member) for member in members]
        return [each for each in parts if each.offset + each.length > start and (end is None or each.offset < end)]

    async def finish_upload(self, name: str, digest: bytes) -> Upload:
        return upload_of(*await self._scripts.call("uploads", "finish_upload", name, digest))

    async def discard_upload(self, name: str) -> None:
        await self._scripts.call("uploads", "discard_upload", name, repeats=True)

    async def delete_upload(self, name: str) -> None:
        await self._scripts.call("uploads", "delete_upload", name, repeats=True)

    async def expired_uploads(self, limit: int = 100) -> Sequence[Upload]:
        (found,) = await self._scripts.call(
            "uploads", "expired_uploads", limit, self._retention_s, UNFINISHED_UPLOAD_S, repeats=True
        )
        return [upload_of(*each) for each in found]
