"""The workers of a process: each claims jobs from the queue and runs them. Several conductors can share one store."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from typing import TYPE_CHECKING, Any, Final

from segue.composer.v1 import composition_pb2
from segue_composition.estimates.file_times import FILE_JOBS_AT_ONCE
from segue_composition.estimates.ready_times import pieces_at_once
from segue_composition.file_jobs import FILE_JOBS
from segue_composition.job_kinds import COMPOSITION, MASTERING, SEPARATION
from segue_conductor.company import Company
from segue_conductor.journal import Journal
from segue_conductor.runs.analysis import AnalysisRun
from segue_conductor.runs.composition import CompositionRun
from segue_conductor.runs.mastering import MasteringRun
from segue_conductor.runs.runner import run_to_end
from segue_conductor.runs.separation import SeparationRun
from segue_runtime import errors, logs, scope
from segue_runtime.accounting import audit
from segue_runtime.store import Fenced

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from segue_composition.services import Services
    from segue_conductor.pool.renderer_pool import RendererPool
    from segue_conductor.runs.runner import Run
    from segue_conductor.storage_cleaner import StorageCleaner
    from segue_runtime.metrics import Metrics
    from segue_runtime.settings.sections import ConductorSettings
    from segue_runtime.store import Job, Renewal

IDLE_WAIT_S: Final = 1.0
STORE_BACKOFF_S: Final = 1.0
CLEAN_EVERY_S: Final = 5.0
STAFF_EVERY_S: Final = 1.0
log = logs.get("conductor")


class Conductor:
    """The workers of one process. Call `find_renderers` and `start`, then `refuse`, `drain`, `stop`."""

    def __init__(
        self,
        settings: ConductorSettings,
        services: Services,
        metrics: Metrics,
        cleaner: StorageCleaner,
        pool: RendererPool,
    ) -> None:
        self._settings = settings
        self._services = services
        self._store = services.store
        self._metrics = metrics
        self._id = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._stopping = asyncio.Event()
        self._company = Company()
        self._pool = pool
        self._num_workers = {COMPOSITION: 0} | dict.fromkeys((MASTERING, *FILE_JOBS), FILE_JOBS_AT_ONCE)
        self._workers: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._staffing: asyncio.Task[None] | None = None
        self._cleaner = cleaner
        self._cleaning: asyncio.Task[None] | None = None

    async def find_renderers(self) -> None:
        """Find the renderers, so that the process knows its models when it is ready."""
        await self._pool.start()

    def start(self) -> None:
        """Start the workers."""
        self._staffing = asyncio.create_task(self._staff())
        self._cleaning = asyncio.create_task(self._clean())

    async def refuse(self) -> None:
        """Claim no more jobs."""
        self._stopping.set()

    async def drain(self, grace_s: float) -> None:
        """Let running jobs reach their next checkpoint, and return them to the queue there."""
        self._stopping.set()
        if self._workers:
            await asyncio.wait(self._workers.values(), timeout=grace_s)

    async def stop(self) -> None:
        """Return all running jobs to the queue; their next claims continue at their last checkpoints."""
        tasks = [task for task in (self._staffing, self._cleaning, *self._workers.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._pool.stop()

    async def _staff(self) -> None:
        """Keep as many workers as the pool has work for. Each kind of job has its own, so that none blocks another."""
        while not self._stopping.is_set():
            try:
                count = self._settings.count or await self._num_automatic()
                self._num_workers[COMPOSITION] = count
            except errors.SegueError as error:
                log.warning("the store failed", reason=error.reason)
            for kind, num_workers in self._num_workers.items():
                for number in range(num_workers):
                    worker = self._workers.get((kind, number))
                    if worker is None or worker.done():
                        self._workers[kind, number] = asyncio.create_task(self._work(kind, number))
            await asyncio.sleep(STAFF_EVERY_S)

    async def _num_automatic(self) -> int:
        """Return how many pieces are worked on at once: more than there are slots, so that the line can be fair."""
        return pieces_at_once(await self._pool.num_slots())

    async def _work(self, kind: str, number: int) -> None:
        while not self._stopping.is_set() and number < self._num_workers[kind]:
            try:
                if self._services.space.is_low():  # waiting work would only fail
                    await asyncio.sleep(IDLE_WAIT_S)
                    continue
                if not self._company.is_open:
                    await self._unless_stopping(self._company.wait_open())
                    continue
                with self._company.joined():
                    job = await self._store.claim(f"{self._id}-{kind}-{number}", self._settings.lease_s, (kind,))
                    if job is not None:
                        await self._drive(job)
                if job is None:
                    await self._unless_stopping(self._store.wait_for_job(IDLE_WAIT_S, (kind,)))
            except errors.SegueError as error:
                log.warning("the store failed", reason=error.reason)
                await asyncio.sleep(STORE_BACKOFF_S)
            except Exception:  # a worker that ends would leave the queue standing
                log.exception("the worker failed")
                await asyncio.sleep(STORE_BACKOFF_S)

    async def _unless_stopping(self, waiting: Coroutine[Any, Any, object]) -> None:
        """Wait, until this process stops at the latest."""
        await _first(asyncio.create_task(waiting), asyncio.create_task(self._stopping.wait()))

    async def _drive(self, job: Job) -> None:
        """Run a claimed job until it ends, is cancelled, is returned to the queue, or belongs to another claim."""
        # The caller's id, so that one id finds the lines of all roles, after a takeover too.
        scope.enter(scope.Scope(request_id=job.call_id or job.name, owner=job.owner))
        log.info("claimed", job=job.name, claims=job.claims, epoch=job.epoch)
        if job.is_taken_over:
            self._metrics.leases_expired.labels(job.kind).inc()
        self._metrics.running.inc()
        journal = self._journal(job)
        running = asyncio.create_task(self._run(job, journal))
        try:
            if not await self._supervise(job, journal, running):
                await _end(running)
                log.info("released", job=job.name)
                await self._store.release(job.name, job.epoch)
        except Fenced:
            log.warning("another conductor has claimed the job", job=job.name)
        except asyncio.CancelledError:
            await _end(running)
            with contextlib.suppress(errors.SegueError):
                await self._store.release(job.name, job.epoch)
            raise
        finally:
            await _end(running)
            self._metrics.running.dec()
            scope.leave()

    async def _run(self, job: Job, journal: Journal | None) -> None:
        if job.lone_losses >= self._settings.max_claims:
            message = (
                f"{job.lone_losses} conductors ended while they worked on this job alone and without progress; "
                "it is not tried again"
            )
            error = errors.TooManyTries(message, metadata={"service": "conductor"})
            await self._run_of(job, journal).end(composition_pb2.STATE_FAILED, error)
        elif job.claims > 1:
            await self._run_alone(job, journal)
        else:
            await run_to_end(self._run_of(job, journal))

    async def _run_alone(self, job: Job, journal: Journal | None) -> None:
        """Run a job without others until its first progress: if this process ends before, only this job is guilty."""
        async with contextlib.AsyncExitStack() as alone:
            await alone.enter_async_context(self._company.alone())
            await self._store.set_alone(job.name, job.epoch)
            rejoining = asyncio.create_task(_close_after_progress(alone, journal))
            try:
                await run_to_end(self._run_of(job, journal))
            finally:
                await _end(rejoining)

    def _run_of(self, job: Job, journal: Journal | None) -> Run:
        if job.kind == SEPARATION:
            return SeparationRun(job, self._services, self._settings)
        if journal is None:
            return AnalysisRun(job, self._services, self._settings)
        if job.kind == MASTERING:
            return MasteringRun(job, journal, self._services, self._settings)
        return CompositionRun(job, journal, self._services, self._settings, self._pool)

    async def _supervise(self, job: Job, journal: Journal | None, running: asyncio.Task[None]) -> bool:
        """Renew the lease while the job runs; end the run if the job is cancelled or belongs to another claim.

        Return False if this process is stopping and the job has reached a checkpoint: it is returned to the queue.
        """
        stop = asyncio.create_task(self._stop_point(journal))
        try:
            while True:
                bell = asyncio.create_task(self._store.wait_for_cancel(job.name, self._settings.heartbeat_s))
                await _first(bell, running, stop, keep=(running, stop))
                if running.done():
                    running.result()
                    return True
                if stop.done():
                    return False
                try:
                    renewal = await self._store.renew(job.name, job.epoch, self._settings.lease_s)
                except errors.StoreUnavailable as error:  # nor can another conductor claim the job, or it is fenced
                    log.warning("the lease was not renewed", reason=error.reason)
                    continue
                reason = stop_reason(job.name, renewal)
                if reason is not None:
                    await _end(running)
                    await self._cancel(job, reason)
                    return True
        finally:
            await _end(stop)

    async def _stop_point(self, journal: Journal | None) -> None:
        """Return when this process stops and the job has reached a checkpoint. Work on a file runs to its end."""
        await self._stopping.wait()
        await (journal.next_checkpoint() if journal else asyncio.Event().wait())

    async def _cancel(self, job: Job, reason: errors.SegueError) -> None:
        current = await self._store.get(job.name)
        if current is None or current.is_finished:
            return
        await self._run_of(current, self._journal(current)).end(composition_pb2.STATE_CANCELLED, reason)
        if current.cancel_reason is None:  # its caller left
            audit.record("cancel", audit.Change(job.name, job.owner), by=audit.DISCONNECT)

    def _journal(self, job: Job) -> Journal | None:
        return Journal(self._store, job) if job.kind not in FILE_JOBS else None

    async def _clean(self) -> None:
        """Delete what nobody needs any more, again and again."""
        while True:
            try:
                await self._cleaner.clean()
            except errors.SegueError as error:
                log.warning("cleaning failed", reason=error.reason)
            except Exception:  # the next cleaning may succeed
                log.exception("cleaning failed")
            await asyncio.sleep(CLEAN_EVERY_S)


async def _close_after_progress(stack: contextlib.AsyncExitStack, journal: Journal | None) -> None:
    """Close a stack at the job's next progress. Work on a file has none before its end."""
    if journal is not None:
        await journal.next_checkpoint()
        await stack.aclose()


async def _first(*tasks: asyncio.Task[object], keep: tuple[asyncio.Task[object], ...] = ()) -> None:
    """Wait for the first of several tasks; end those that are not in `keep`."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            if task not in keep:
                await _end(task)


async def _end(task: asyncio.Task[object]) -> None:
    """Cancel a task and wait for its `finally` blocks."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def stop_reason(name: str, renewal: Renewal) -> errors.SegueError | None:
    """Return why a job must stop; None if it may continue."""
    if renewal.cancel_requested:
        return errors.CancelledByUser(f"{name} was cancelled")
    if renewal.is_abandoned:
        return errors.ClientGone("the caller disconnected, and its disconnect policy is CANCEL")
    return None
