"""Erases everything that a home has of an owner. Servers may run meanwhile.

Each step can be repeated: what was killed is run again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue.composer.v1 import composition_pb2
from segue_composition.job_kinds import ALL
from segue_runtime import errors, failpoints
from segue_runtime.accounting import audit
from segue_runtime.accounting.traffic import REPORT_EVERY_S
from segue_runtime.store import Fenced, LogEnded
from segued.serve.artifact_store import open_artifacts
from segued.serve.storage import open_space, open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_runtime.artifacts import ArtifactStore, StoredFile
    from segue_runtime.settings import Settings
    from segue_runtime.store import Job, Store

AFTER_DELETE: Final = failpoints.declare("tenant.after_delete", "one job or upload of an owner is erased")
REASON: Final = "segued tenant delete"
HOLDER: Final = "segued tenant delete"
LEASE_S: Final = 10.0
WAIT_S: Final = 120.0
"""How long running work may take to end. A conductor hears of a cancellation at once; one that was killed, never."""
POLL_S: Final = 0.2
MAX_TRIES: Final = 20
SETTLE_S: Final = 2 * REPORT_EVERY_S
"""After this time servers have written what they had counted."""
CANCELLED: Final = composition_pb2.State.Name(composition_pb2.STATE_CANCELLED)


@dataclass
class Erased:
    """What was erased of an owner."""

    owner: str
    cancelled: int = 0
    jobs: int = 0
    uploads: int = 0
    takes: int = 0
    artifact_bytes: int = 0
    usage_days: int = 0


async def erase(settings: Settings, owner: str) -> Erased:
    """Erase an owner from the stores of the settings, with an audit line."""
    space = await asyncio.to_thread(open_space, settings)
    artifacts = await open_artifacts(settings, space)
    store = await open_store(settings, space, artifacts)
    changed, result = audit.Change(of=owner), "FAILED"
    try:
        erased = await OwnerErasure(store, artifacts, owner).run()
        result = audit.OK
    except errors.SegueError as error:
        result = error.reason
        raise
    finally:
        audit.record("erase", changed, by=audit.OPERATOR, result=result)
        await artifacts.close()
        await store.close()
    return erased


class OwnerErasure:
    """Erases an owner: first its work ends, then bytes and rows go, the bytes of each thing before its row."""

    def __init__(
        self, store: Store, artifacts: ArtifactStore, owner: str, wait_s: float = WAIT_S, settle_s: float = SETTLE_S
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._owner = owner
        self._wait_s = wait_s
        self._settle_s = settle_s
        self._erased = Erased(owner)

    async def run(self) -> Erased:
        """Erase everything; NotFinished if the owner makes new work all the time."""
        await self._end_work()
        await self._delete_jobs()
        await self._delete_uploads()
        await self._delete_takes()
        await asyncio.sleep(self._settle_s)
        self._erased.usage_days += await self._store.erase(self._owner)
        await self._store.purge()
        return self._erased

    async def _jobs(self) -> Sequence[Job]:
        return (await self._store.list(self._owner, ALL, limit=100)).jobs

    async def _end_work(self) -> None:
        """Cancel what is not finished, and wait until it has ended."""
        end = time.monotonic() + self._wait_s
        cancelled: set[str] = set()
        while unfinished := await self._unfinished():
            for job in unfinished:
                with contextlib.suppress(errors.CompositionNotFound, errors.JobNotFound):
                    await self._store.request_cancel(job.name, REASON)
                    await self._end(job.name)
            cancelled |= {job.name for job in unfinished}
            if time.monotonic() > end:
                names = ", ".join(sorted(job.name for job in unfinished)[:3])
                raise errors.NotFinished(f"{names} did not end within {self._wait_s:g} s: try again when it has ended")
            await asyncio.sleep(POLL_S)
        self._erased.cancelled += len(cancelled)

    async def _unfinished(self) -> list[Job]:
        found: list[Job] = []
        after: int | None = None
        while True:
            page = await self._store.list(self._owner, ALL, limit=100, after=after)
            found += [job for job in page.jobs if not job.is_finished]
            after = page.after
            if after is None:
                return found

    async def _end(self, name: str) -> None:
        """End a cancelled job that no conductor holds. It is deleted next: nobody reads how it ended."""
        claimed = await self._store.claim_one(name, HOLDER, LEASE_S)
        if claimed is not None:
            with contextlib.suppress(Fenced, LogEnded):
                await self._store.append(
                    name, claimed.epoch, [], after=claimed.last_row, state=CANCELLED, terminal=True
                )

    async def _delete_jobs(self) -> None:
        while jobs := [job for job in await self._jobs() if job.is_finished]:
            for job in jobs:
                await self._delete_artifacts(job.name)
                with contextlib.suppress(errors.CompositionNotFound, errors.JobNotFound):  # retention deletes it, too
                    await self._store.delete(job.name)
                self._erased.jobs += 1
                await failpoints.reach(AFTER_DELETE)

    async def _delete_uploads(self) -> None:
        while names := [each.name for each in (await self._store.list_uploads(self._owner, limit=100)).uploads]:
            for name in names:
                with contextlib.suppress(errors.ArtifactNotFound):
                    await self._store.discard_upload(name)
                await self._delete_upload(name)
        for name in await self._store.discarded_uploads(self._owner):
            await self._delete_upload(name)

    async def _delete_upload(self, name: str) -> None:
        await self._delete_artifacts(name)
        await self._store.delete_upload(name)
        self._erased.uploads += 1
        await failpoints.reach(AFTER_DELETE)

    async def _delete_takes(self) -> None:
        from segue_conductor.render.take_store import take_folder

        files = await self._delete_artifacts(take_folder(self._owner))
        self._erased.takes += len({each.key.rpartition("/")[0] for each in files})

    async def _delete_artifacts(self, prefix: str) -> Sequence[StoredFile]:
        """Delete a folder; return the files that it had."""
        for _ in range(MAX_TRIES):
            with contextlib.suppress(errors.ArtifactNotFound):  # a conductor deletes some of it at the same time
                files = await self._artifacts.list_files(prefix)
                await self._artifacts.delete_prefix(prefix)
                self._erased.artifact_bytes += sum(each.num_bytes for each in files)
                return files
        raise errors.StoreUnavailable(f"{prefix} changes all the time: try again")
