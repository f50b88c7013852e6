"""Turns one job into its result: opens the file, has the service measure it, and waits while the service cannot."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

from segue_client import SegueError
from segue_client.file_formats import media_type_of
from segue_client.transport.retry import is_temporary
from segue_runtime import logs
from segued.bridge import results
from segued.bridge.addresses import AllowedHosts
from segued.bridge.downloads import download
from segued.bridge.jobs import JobRefused
from segued.bridge.lists import failures_of_redis
from segued.bridge.local_files import open_below

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue.analyzer.v1.analyzer_pb2 import Report
    from segue.composer.v1.analysis_pb2 import Analysis
    from segue.composer.v1.separation_pb2 import Separation
    from segue_client import Client
    from segue_runtime.settings import BridgeSettings
    from segued.bridge.jobs import FileJob
    from segued.bridge.lists import JobLists

    Measured = tuple[Report, Separation | None]

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
CLEAN_UP_S: Final = 5.0
BUSY: Final = frozenset(
    {"QUEUE_FULL", "TOO_MANY_CALLS", "STORAGE_FULL", "QUOTA_EXCEEDED", "UNAUTHENTICATED", "PERMISSION_DENIED"}
)
"""Reasons that are the fault of no job: it waits until the operator, or other work's end, has removed them."""
log = logs.get("bridge")


class FileMeasurement:
    """Measures the files of jobs with the service behind a client."""

    def __init__(self, settings: BridgeSettings, client: Client, lists: JobLists) -> None:
        self._settings = settings
        self._client = client
        self._lists = lists
        self._hosts = AllowedHosts(settings.hosts, http=settings.http)

    async def result(self, job: FileJob) -> bytes:
        """Return the result of a job; JobRefused has the error of one that fails."""
        async with self._opened(job) as file:
            media_type = media_type_of(PurePosixPath(job.file_path or self._hosts.parse(job.url).path))
            report, separation = await self._measure(job, file, media_type)
        return results.completed(job.job_id, report, separation)

    @contextlib.asynccontextmanager
    async def _opened(self, job: FileJob) -> AsyncIterator[BinaryIO]:
        settings = self._settings
        if job.url:
            with tempfile.TemporaryFile(prefix="segue-bridge-") as copy:
                await self._download(job.url, copy)
                yield copy
            return
        if settings.root is None:
            raise JobRefused("file_path: this bridge reads no files, since bridge.root is not set")
        with await asyncio.to_thread(open_below, settings.root, job.file_path, settings.max_bytes) as file:
            yield file

    async def _download(self, url: str, copy: BinaryIO) -> None:
        await download(self._hosts.parse(url), copy, self._settings.max_bytes, self._settings.time_limit_s)

    async def _measure(self, job: FileJob, file: BinaryIO, media_type: str) -> Measured:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return await self._measure_once(file, media_type)
            except SegueError as error:
                if not _may_succeed_later(error, file):
                    raise JobRefused(error.message or "the analysis failed") from None
                log.warning("the service cannot measure now", job_id=job.job_id, code=error.code.name,
                            reason=error.reason, detail=error.message)  # fmt: skip
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _measure_once(self, file: BinaryIO, media_type: str) -> Measured:
        upload = (await self._client.upload(file, media_type)).name
        analyses: list[str] = []

        def note(analysis: Analysis) -> None:
            analyses[:] = [] if analysis.HasField("end_time") else [analysis.name]

        try:
            await self._remember(upload)
            report = await self._client.analyze(upload, note, find_tracks=True)
            return report, await self._client.separate(upload) if self._settings.stems else None
        finally:
            await self._clean_up(upload, analyses)

    async def _remember(self, upload: str) -> None:
        with contextlib.suppress(*failures_of_redis()):  # without it, a killed bridge leaves the upload to expire
            await self._lists.add_upload(upload)

    async def _clean_up(self, upload: str, analyses: list[str]) -> None:
        """Cancel an analysis that is no more needed, and delete the upload, as far as the service answers."""
        with contextlib.suppress(SegueError, TimeoutError, *failures_of_redis()):
            async with asyncio.timeout(CLEAN_UP_S):
                for each in analyses:
                    await self._client.cancel_analysis(each)
                await self.delete_upload(upload)
                await self._lists.remove_upload(upload)

    async def delete_upload(self, name: str) -> None:
        """Delete an upload; one that a cancelled analysis still needs, as soon as that has ended."""
        while True:
            try:
                return await self._client.delete_upload(name)
            except SegueError as error:
                if error.reason != "NOT_FINISHED":
                    raise
            await asyncio.sleep(FIRST_PAUSE_S)


def _may_succeed_later(error: SegueError, file: BinaryIO) -> bool:
    if error.reason == "QUOTA_EXCEEDED" and error.metadata.get("unit") == "bytes":
        limit = error.metadata.get("limit", "")
        return not limit.isdecimal() or file.seek(0, 2) <= int(limit)
    return error.reason in BUSY or is_temporary(error)
