"""Claims work from the queue and drives it; several can share one store."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from typing import TYPE_CHECKING, Final

from segue.composer.v1 import composition_pb2, mastering_pb2, spec_pb2
from segue_composition.job_kinds import ALL, ANALYSIS, MASTERING
from segue_conductor.journal import Journal
from segue_conductor.runs.analysis import AnalysisRun
from segue_conductor.runs.composition import CompositionRun
from segue_conductor.runs.mastering import MasteringRun
from segue_runtime import errors, logs, scope
from segue_runtime.store import Fenced

if TYPE_CHECKING:
    from segue_composition.peers import Peers
    from segue_runtime.artifacts import ArtifactStore
    from segue_runtime.metrics import Metrics
    from segue_runtime.settings import Settings
    from segue_runtime.store import Job, Renewal, Store

IDLE_WAIT_S: Final = 1.0
STORE_BACKOFF_S: Final = 1.0
CLEAN_EVERY_S: Final = 60.0
log = logs.get("conductor")


class Conductor:
    """The workers of one process. `start`, then `refuse`, `drain`, `stop`."""

    def __init__(
        self, settings: Settings, store: Store, artifacts: ArtifactStore, peers: Peers, metrics: Metrics
    ) -> None:
        self._settings = settings.conductor
        self._store = store
        self._artifacts = artifacts
        self._peers = peers
        self._metrics = metrics
        self._id = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._stopping = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []
        self._cleaner: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to take work."""
        self._workers = [asyncio.create_task(self._work(number)) for number in range(self._settings.count)]
        self._cleaner = asyncio.create_task(self._clean())

    async def refuse(self) -> None:
        """Claim nothing more."""
        self._stopping.set()

    async def drain(self, grace_s: float) -> None:
        """Let what runs come to its next checkpoint, and give it back to the queue there."""
        self._stopping.set()
        if self._workers:
            await asyncio.wait(self._workers, timeout=grace_s)

    async def stop(self) -> None:
        """Give back what still runs: the next claim goes on from its last checkpoint."""
        tasks = [*self._workers, *([self._cleaner] if self._cleaner else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, number: int) -> None:
        while not self._stopping.is_set():
            try:
                job = await self._store.claim(f"{self._id}-{number}", self._settings.lease_s, ALL)
                if job is None:
                    await self._idle()
                    continue
                await self._drive(job)
            except errors.SegueError as error:
                log.warning("the store failed", reason=error.reason)
                await asyncio.sleep(STORE_BACKOFF_S)
            except Exception:  # a worker that dies of a surprise would leave the queue standing without a word
                log.exception("the worker failed")
                await asyncio.sleep(STORE_BACKOFF_S)

    async def _idle(self) -> None:
        waiting = asyncio.create_task(self._store.wait_for_job(IDLE_WAIT_S, ALL))
        stopping = asyncio.create_task(self._stopping.wait())
        await _first(waiting, stopping)

    async def _drive(self, job: Job) -> None:
        scope.enter(scope.Scope(request_id=job.name, owner=job.owner))
        log.info("claimed", job=job.name, claims=job.claims, epoch=job.epoch)
        self._metrics.running.inc()
        journal = self._journal(job)
        drive = asyncio.create_task(self._run(job, journal))
        try:
            if not await self._guard(job, journal, drive):
                await _end(drive)
                log.info("given back", job=job.name)
                await self._store.release(job.name, job.epoch)
        except Fenced:
            log.warning("another conductor has it", job=job.name)
        except asyncio.CancelledError:
            await _end(drive)
            with contextlib.suppress(errors.SegueError):
                await self._store.release(job.name, job.epoch)
            raise
        finally:
            await _end(drive)
            self._metrics.running.dec()
            scope.leave()

    async def _run(self, job: Job, journal: Journal | None) -> None:
        run = self._run_of(job, journal)
        if job.claims > self._settings.max_claims:
            await run.end(
                composition_pb2.STATE_FAILED,
                errors.TooManyTries(f"{job.claims - 1} conductors began it and none came further; it was put aside"),
            )
            return
        await run.run()

    def _run_of(self, job: Job, journal: Journal | None) -> CompositionRun | MasteringRun | AnalysisRun:
        if journal is None:
            return AnalysisRun(job, self._store, self._artifacts, self._peers, self._settings.time_limit_s)
        if job.kind == MASTERING:
            return MasteringRun(
                journal,
                self._store,
                self._artifacts,
                self._peers,
                mastering_pb2.CreateMasterRequest.FromString(job.spec),
                self._settings.time_limit_s,
                job.claims,
            )
        return CompositionRun(
            journal,
            self._store,
            self._artifacts,
            self._peers,
            spec_pb2.CompositionSpec.FromString(job.spec),
            self._settings,
            job.claims,
        )

    async def _guard(self, job: Job, journal: Journal | None, drive: asyncio.Task[None]) -> bool:
        """Keep the lease alive while the work runs; stop it when it is to be cancelled or belongs to another.

        False: this process is stopping and the work has come to a checkpoint; it is to be given back.
        """
        stop = asyncio.create_task(self._stop_point(journal))
        try:
            while True:
                bell = asyncio.create_task(self._store.wait_for_cancel(job.name, self._settings.heartbeat_s))
                await _first(bell, drive, stop, keep=(drive, stop))
                if drive.done():
                    drive.result()
                    return True
                if stop.done():
                    return False
                renewal = await self._store.renew(job.name, job.epoch, self._settings.lease_s)
                reason = stop_reason(renewal)
                if reason is not None:
                    await _end(drive)
                    await self._cancelled(job, reason)
                    return True
        finally:
            await _end(stop)

    async def _stop_point(self, journal: Journal | None) -> None:
        """Return when this process stops and the work can be left without loss. An analysis is let come to its end."""
        await self._stopping.wait()
        await (journal.next_checkpoint() if journal else asyncio.Event().wait())

    async def _cancelled(self, job: Job, reason: errors.SegueError) -> None:
        current = await self._store.get(job.name)
        if current is None or current.is_finished:
            return
        await self._run_of(current, self._journal(current)).end(composition_pb2.STATE_CANCELLED, reason)

    def _journal(self, job: Job) -> Journal | None:
        return Journal(self._store, job) if job.kind != ANALYSIS else None

    async def _clean(self) -> None:
        """Remove what has expired: first its files, then itself, so that nothing is left when this stops between."""
        while True:
            with contextlib.suppress(errors.SegueError):
                for job in await self._store.expired():
                    await self._artifacts.delete_prefix(job.name)
                    await self._store.delete(job.name)
                    log.info("expired", job=job.name)
                for upload in await self._store.expired_uploads():
                    await self._artifacts.delete_prefix(upload.name)
                    await self._store.delete_upload(upload.name)
                    log.info("expired", upload=upload.name)
            await asyncio.sleep(CLEAN_EVERY_S)


async def _first(*tasks: asyncio.Task[object], keep: tuple[asyncio.Task[object], ...] = ()) -> None:
    """Wait for the first of some tasks and end those that nobody keeps."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            if task not in keep:
                await _end(task)


async def _end(task: asyncio.Task[object]) -> None:
    """Cancel a task and wait until its `finally` blocks are through."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def stop_reason(renewal: Renewal) -> errors.SegueError | None:
    """Return why a composition shall stop, if it shall."""
    if renewal.cancel_requested:
        return errors.CancelledByUser("it was cancelled")
    if renewal.attached_until is not None and renewal.attached_until < time.time():
        return errors.ClientGone("its caller went away, and its policy is to cancel then")
    return None
