"""Claims work from the queue and drives it; several can share one store."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from typing import TYPE_CHECKING, Final

from segue.composer.v1 import composer_pb2
from segue_gateway.conductor.analysis_run import AnalysisRun
from segue_gateway.conductor.composition_run import CompositionRun
from segue_gateway.conductor.journal import Journal
from segue_runtime import errors, logs, scope
from segue_runtime.store import Fenced

if TYPE_CHECKING:
    from segue_gateway.pool import Mesh
    from segue_runtime.artifacts import ArtifactStore
    from segue_runtime.settings import Settings
    from segue_runtime.store import Job, Renewal, Store

COMPOSITION: Final = "composition"
ANALYSIS: Final = "analysis"
IDLE_WAIT_S: Final = 1.0
STORE_BACKOFF_S: Final = 1.0
log = logs.get("conductor")


class Conductor:
    """The workers of one process. `start`, then `drain`."""

    def __init__(self, settings: Settings, store: Store, artifacts: ArtifactStore, mesh: Mesh) -> None:
        self._settings = settings.conductor
        self._store = store
        self._artifacts = artifacts
        self._mesh = mesh
        self._id = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._stopping = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to take work."""
        self._workers = [asyncio.create_task(self._work(number)) for number in range(self._settings.count)]

    async def drain(self, grace_s: float) -> None:
        """Take no new work; give what runs grace_s to end, then leave it for another claim."""
        self._stopping.set()
        if self._workers:
            await asyncio.wait(self._workers, timeout=grace_s)
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _work(self, number: int) -> None:
        while not self._stopping.is_set():
            try:
                job = await self._store.claim(f"{self._id}-{number}", self._settings.lease_s, (COMPOSITION, ANALYSIS))
                if job is None:
                    await self._idle()
                    continue
                await self._drive(job)
            except errors.SegueError as error:
                log.warning("the store failed", reason=error.reason_name)
                await asyncio.sleep(STORE_BACKOFF_S)

    async def _idle(self) -> None:
        waiting = asyncio.create_task(self._store.wait_for_job(IDLE_WAIT_S))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (waiting, stopping):
                task.cancel()
            await asyncio.gather(waiting, stopping, return_exceptions=True)

    async def _drive(self, job: Job) -> None:
        scope.enter(scope.Scope(request_id=job.name, owner=job.owner))
        log.info("claimed", job=job.name, claims=job.claims, epoch=job.epoch)
        drive = asyncio.create_task(self._run(job))
        try:
            await self._guard(job, drive)
        except Fenced:
            log.warning("another conductor has it", job=job.name)
        except asyncio.CancelledError:
            # Stopped in the middle: the next claim goes on from the checkpoint, at once.
            with contextlib.suppress(errors.SegueError):
                await self._store.release(job.name, job.epoch)
            raise
        finally:
            drive.cancel()
            await asyncio.gather(drive, return_exceptions=True)
            scope.leave()

    async def _run(self, job: Job) -> None:
        if job.kind == ANALYSIS:
            await AnalysisRun(job, self._store, self._artifacts, self._mesh, self._settings.time_limit_s).run()
            return
        run = self._composition_run(job)
        if job.claims > self._settings.max_claims:
            await run.end(
                composer_pb2.STATE_FAILED,
                errors.TooManyTries(f"{job.claims - 1} conductors began it and none came further; it was put aside"),
            )
            return
        await run.run()

    def _composition_run(self, job: Job) -> CompositionRun:
        return CompositionRun(
            Journal(self._store, job),
            self._store,
            self._artifacts,
            self._mesh,
            composer_pb2.CompositionSpec.FromString(job.spec),
            self._settings.time_limit_s,
            job.claims,
        )

    async def _guard(self, job: Job, drive: asyncio.Task[None]) -> None:
        """Keep the lease alive while the work runs; stop it when it is to be cancelled or belongs to another."""
        while True:
            bell = asyncio.create_task(self._store.wait_for_cancel(job.name, self._settings.heartbeat_s))
            try:
                await asyncio.wait({drive, bell}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                bell.cancel()
                await asyncio.gather(bell, return_exceptions=True)
            if drive.done():
                drive.result()
                return
            renewal = await self._store.renew(job.name, job.epoch, self._settings.lease_s)
            reason = stop_reason(renewal)
            if reason is not None:
                drive.cancel()
                await asyncio.gather(drive, return_exceptions=True)
                await self._cancelled(job, reason)
                return

    async def _cancelled(self, job: Job, reason: errors.SegueError) -> None:
        current = await self._store.get(job.name)
        if current is None or current.is_finished:
            return
        if job.kind == ANALYSIS:
            await AnalysisRun(current, self._store, self._artifacts, self._mesh, 0).end(
                composer_pb2.STATE_CANCELLED, reason
            )
            return
        await self._composition_run(current).end(composer_pb2.STATE_CANCELLED, reason)


def stop_reason(renewal: Renewal) -> errors.SegueError | None:
    """Return why a composition shall stop, if it shall."""
    if renewal.cancel_requested:
        return errors.CancelledByUser("it was cancelled")
    if renewal.attached_until is not None and renewal.attached_until < time.time():
        return errors.ClientGone("its caller went away, and its policy is to cancel then")
    return None
