"""Deletes what nobody needs any more: expired jobs and uploads, and the takes that no composition refers to."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from segue.composer.v1 import composition_pb2
from segue_composition.job_kinds import COMPOSITION
from segue_conductor.render.take_store import TAKES, take_folder
from segue_runtime import errors, logs
from segue_runtime.accounting import audit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from segue_runtime.artifacts import ArtifactStore, StoredFile
    from segue_runtime.store import Job, Store

GRACE_S: Final = 120.0
"""A take without a reference is kept this long while its owner has unfinished compositions: one of them may have just
found it, or made it, and not recorded that yet. It is much longer than any lease."""
RECHECK_S: Final = 60.0
OWNED: Final = ("compositions", "separations", "uploads")
"""The folders whose folders have the names of jobs and uploads."""
ORPHANS_EVERY_S: Final = 3600.0
ORPHANED_S: Final = 86400.0
"""Files are kept this long after they were written although the store does not know their job or upload. It may be a
store that was restored from an old backup by mistake."""
log = logs.get("conductor")


@dataclass
class Freed:
    """What a cleaning deleted."""

    jobs: int = 0
    uploads: int = 0
    takes: int = 0
    orphans: int = 0
    """Folders of jobs and uploads that the store does not know."""
    artifact_bytes: int = 0


@dataclass(frozen=True)
class Unreferenced:
    """A take's folder that no composition refers to."""

    folder: str
    files: Sequence[StoredFile]
    is_busy: bool

    @property
    def num_bytes(self) -> int:
        """The size of its files."""
        return sum(each.num_bytes for each in self.files)

    @property
    def used(self) -> int:
        """The last use."""
        return max(each.used for each in self.files)


@dataclass
class References:
    """The take folders that compositions refer to, and the owners' folders with unfinished compositions."""

    takes: set[str] = field(default_factory=set[str])
    busy: set[str] = field(default_factory=set[str])

    def add(self, jobs: Sequence[Job]) -> None:
        """Add the references of some jobs."""
        for job in jobs:
            folder = take_folder(job.owner)
            if not job.is_finished:
                self.busy.add(folder)
            composition = composition_pb2.Composition.FromString(job.resource)
            self.takes.update(f"{folder}/{section.take}" for section in composition.sections if section.take)


class StorageCleaner:
    """Several processes may clean the same store."""

    def __init__(
        self,
        store: Store,
        artifacts: ArtifactStore,
        *,
        takes_bytes: int = 0,
        orphaned_s: float = ORPHANED_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._takes_bytes = takes_bytes
        self._orphaned_s = orphaned_s
        self._next_orphans = 0.0
        self._clock = clock
        self._num_deleted = -1
        self._next_check = 0.0
        self._seen: dict[tuple[str, int], float] = {}
        """When each take without a reference was first seen."""

    async def clean(self) -> Freed:
        """Delete what has expired, and the takes that were needed by it alone."""
        freed = Freed()
        await self._delete_expired(freed)
        # Only a deletion takes references away.
        num_deleted = await self._store.num_deleted()
        if num_deleted != self._num_deleted or self._clock() >= self._next_check:
            is_left = await self._sweep_takes(freed)
            await self._store.shrink()
            self._num_deleted = num_deleted
            self._next_check = self._clock() + RECHECK_S if is_left else float("inf")
        if self._clock() >= self._next_orphans:
            await self._sweep_orphans(freed)
            self._next_orphans = self._clock() + ORPHANS_EVERY_S
        if freed != Freed():
            log.info(
                "freed space",
                jobs=freed.jobs,
                uploads=freed.uploads,
                takes=freed.takes,
                orphans=freed.orphans,
                artifact_bytes=freed.artifact_bytes,
            )
        return freed

    async def _delete_expired(self, freed: Freed) -> None:
        # The files go first: an interruption must not leave files without a job.
        while jobs := await self._store.expired():
            for job in jobs:
                freed.artifact_bytes += await self._delete_artifacts(job.name)
                with contextlib.suppress(
                    errors.CompositionNotFound, errors.JobNotFound
                ):  # another process deletes it too
                    await self._store.delete(job.name)
                    freed.jobs += 1
                    audit.record("delete", audit.Change(job.name, job.owner), by=audit.RETENTION)
        while uploads := await self._store.expired_uploads():
            for upload in uploads:
                # A job may need it since a moment ago, or another process deletes it too.
                with contextlib.suppress(errors.NotFinished, errors.ArtifactNotFound):
                    await self._store.discard_upload(upload.name)
                    freed.artifact_bytes += await self._delete_artifacts(upload.name)
                    await self._store.delete_upload(upload.name)
                    freed.uploads += 1
                    audit.record("delete", audit.Change(upload.name, upload.owner), by=audit.RETENTION)

    async def _delete_artifacts(self, prefix: str) -> int:
        num_bytes = sum(each.num_bytes for each in await self._artifacts.list_files(prefix))
        await self._artifacts.delete_prefix(prefix)
        return num_bytes

    async def _sweep_orphans(self, freed: Freed) -> None:
        """Delete files whose job or upload the store does not have.

        A conductor that was stopped may write for a job that was deleted meanwhile, and a failover of Redis may lose a
        job that has files already.
        """
        for folder in OWNED:
            # A job is in the store before its first file: first the files, then the store.
            for name in await self._artifacts.list_folders(folder):
                is_upload = folder == "uploads"
                known = await (self._store.get_upload(name) if is_upload else self._store.get(name))
                if known is not None:
                    continue
                files = await self._artifacts.list_files(name)
                if max((each.used for each in files), default=0) / 1e9 < time.time() - self._orphaned_s:
                    freed.artifact_bytes += await self._delete_artifacts(name)
                    freed.orphans += 1

    async def _sweep_takes(self, freed: Freed) -> bool:
        """Delete takes without a reference; return whether some of them are left for later."""
        # First the takes, then the references: a take that was made or used meanwhile is not what was listed.
        takes = await self._list_takes()
        references = await self._references()
        total = sum(each.num_bytes for files in takes.values() for each in files)
        spare = [
            Unreferenced(folder, files, folder.rpartition("/")[0] in references.busy)
            for folder, files in takes.items()
            if folder not in references.takes
        ]
        now = self._clock()
        self._seen = {
            (each.folder, each.used): self._seen.get((each.folder, each.used), now) for each in spare if each.is_busy
        }
        num_deleted = 0
        for each in sorted(spare, key=lambda take: take.used):
            if self._takes_bytes and total <= self._takes_bytes:
                break
            if each.is_busy and now - self._seen[each.folder, each.used] < GRACE_S:
                continue
            if await self._artifacts.delete_unused(each.folder, each.files):
                num_deleted += 1
                freed.artifact_bytes += each.num_bytes
                total -= each.num_bytes
        freed.takes += num_deleted
        return num_deleted < len(spare)

    async def _list_takes(self) -> dict[str, list[StoredFile]]:
        takes: dict[str, list[StoredFile]] = collections.defaultdict(list)
        for each in await self._artifacts.list_files(TAKES):
            takes[each.key.rpartition("/")[0]].append(each)
        return takes

    async def _references(self) -> References:
        found = References()
        after: int | None = None
        while True:
            page = await self._store.scan(COMPOSITION, after=after)
            await asyncio.to_thread(found.add, page.jobs)
            after = page.after
            if after is None:
                return found
