"""Opens the artifact store that the settings name."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

from segue_runtime.artifacts.base import KEY
from segue_runtime.settings import S3Settings, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_runtime.artifacts import ArtifactStore
    from segue_runtime.settings import Settings
    from segue_runtime.space import DiskSpace

ENDPOINT: Final = re.compile(r"https?://(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?", re.ASCII)


async def open_artifacts(settings: Settings, space: DiskSpace) -> ArtifactStore:
    """Open the artifact store: a folder, or a bucket that can be used."""
    from segue_runtime.artifacts import FolderArtifacts

    s3 = settings.artifacts.s3
    if settings.artifacts.backend == "folder":
        if s3 != S3Settings():
            raise SettingsError(["artifacts.s3: it has no effect without artifacts.backend = s3"])
        return await asyncio.to_thread(FolderArtifacts, settings.artifact_folder, space.has_room)
    from segue_runtime.artifacts.s3 import S3Artifacts

    if problems := list(_problems(s3)):
        raise SettingsError(problems)
    artifacts = await asyncio.to_thread(S3Artifacts, s3, settings.artifact_folder, space.has_room)
    await artifacts.is_empty()  # an error says what to do; it comes now, and not with the first piece
    return artifacts


def _problems(s3: S3Settings) -> Iterator[str]:
    """Yield what is wrong with the settings of a bucket."""
    if not s3.bucket:
        yield "artifacts.s3.bucket: artifacts.backend = s3 needs a bucket"
    if s3.endpoint and not ENDPOINT.fullmatch(s3.endpoint):
        yield "artifacts.s3.endpoint: write http://HOST:PORT or https://HOST, without a user or a path"
    if bool(s3.access_key) != bool(s3.secret_key):
        yield "artifacts.s3: set both access_key and secret_key, or neither"
    if s3.prefix and not KEY.fullmatch(s3.prefix):
        yield "artifacts.s3.prefix: write words of letters, digits and `._-` with slashes between them"
