"""The worker of the bridge: takes jobs while it has room, keeps its sign of life, and gives back what it cannot end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from segue_client import SegueError
from segue_runtime import failpoints, logs
from segued.bridge import results
from segued.bridge.jobs import JobRefused, read_job
from segued.bridge.lists import failures_of_redis

if TYPE_CHECKING:
    from segue_runtime.settings import BridgeSettings
    from segued.bridge.lists import JobLists
    from segued.bridge.measurement import FileMeasurement
    from segued.bridge.metrics import BridgeMetrics

WAIT_S: Final = 1.0
"""Longest wait for a job; the worker does not stop earlier, since an abandoned wait could lose the answer's job."""
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 2.0
MAX_LOSSES: Final = 10
"""Lost workers after which a job is not tried again: it may be what ends them."""
NO_ID: Final = "the job has no job_id to answer to"

BEFORE_RESULT = failpoints.declare("bridge.before_result", "the result is known, and not yet pushed")
AFTER_RESULT = failpoints.declare("bridge.after_result", "the result is pushed, and the job removed")
log = logs.get("bridge")


class BridgeWorker:
    """Works on jobs of the lists until it is stopped."""

    def __init__(
        self, settings: BridgeSettings, lists: JobLists, measurement: FileMeasurement, metrics: BridgeMetrics
    ) -> None:
        self._lease_s = settings.lease_s
        self._lists = lists
        self._measurement = measurement
        self._metrics = metrics
        self._slots = asyncio.Semaphore(settings.count)
        self._in_hand: Counter[bytes] = Counter()
        self._found: deque[bytes] = deque()
        self._tasks: dict[asyncio.Task[None], bytes] = {}
        self._stopping = asyncio.Event()
        self._next_check = 0.0
        self._takes_back_at = 0.0

    async def run(self) -> None:
        """Take jobs until `stop`; returns when no more is taken."""
        keeping = asyncio.create_task(self._keep_alive())
        try:
            while not self._stopping.is_set():
                await self._slots.acquire()
                payload = None if self._stopping.is_set() else await self._take()
                if payload is None:
                    self._slots.release()
                else:
                    self._start(payload)
            await self._wait_for_jobs()
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    def stop(self) -> None:
        """Take no more jobs."""
        self._stopping.set()

    async def give_back(self) -> None:
        """End all work; jobs without a result wait for other workers."""
        payloads = dict(self._tasks)
        for task in payloads:
            task.cancel()
        await asyncio.gather(*payloads, return_exceptions=True)
        with contextlib.suppress(*failures_of_redis()):  # other workers take back what cannot be given back
            for payload in reversed(await self._lists.unknown(Counter())):
                if await self._lists.give_back(payload):
                    self._metrics.jobs.labels("given_back").inc()
            await self._lists.leave()

    async def _wait_for_jobs(self) -> None:
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    # Taking jobs.

    async def _take(self) -> bytes | None:
        """Return the next job, or None after a while, or after an error."""
        try:
            if time.monotonic() >= self._next_check:
                # Before anything is taken, others must know where to find it. After an error, the server may be
                # another one, or its answer with a job was lost.
                await self._lists.renew()
                self._found.extend(await self._lists.unknown(self._in_hand + Counter(self._found)))
                self._next_check = time.monotonic() + self._lease_s
            return self._found.popleft() if self._found else await self._lists.take(WAIT_S)
        except failures_of_redis() as error:
            await self._note(error)
            return None

    async def _note(self, error: Exception) -> None:
        log.warning("Redis does not answer, or refuses", error=type(error).__name__)
        now = time.monotonic()
        self._next_check = 0.0
        # Workers that live need time for a sign of life after the server was away.
        self._takes_back_at = now + self._lease_s
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), LONGEST_PAUSE_S / 4)

    async def _keep_alive(self) -> None:
        """Renew the sign of life, and take back the jobs of workers without one."""
        while True:
            try:
                await self._lists.renew()
                if time.monotonic() >= self._takes_back_at:
                    await self._take_back()
                for name, length in (await self._lists.lengths()).items():
                    self._metrics.lengths.labels(name).set(length)
            except failures_of_redis() as error:
                await self._note(error)
            await asyncio.sleep(self._lease_s / 3)

    async def _take_back(self) -> None:
        taken = await self._lists.take_back()
        if taken.num_jobs:
            log.warning("jobs of a lost worker wait again", num_jobs=taken.num_jobs)
            self._metrics.taken_back.inc(taken.num_jobs)
        for name in taken.uploads:
            # Unless its analysis still runs: then it expires.
            with contextlib.suppress(SegueError, TimeoutError):
                async with asyncio.timeout(WAIT_S):
                    await self._measurement.delete_upload(name)

    # Working on jobs.

    def _start(self, payload: bytes) -> None:
        self._in_hand[payload] += 1
        task = asyncio.create_task(self._work(payload))
        self._tasks[task] = payload
        task.add_done_callback(self._end)
        self._metrics.running.set(len(self._tasks))

    def _end(self, task: asyncio.Task[None]) -> None:
        payload = self._tasks.pop(task)
        self._in_hand -= Counter([payload])
        self._slots.release()
        self._metrics.running.set(len(self._tasks))
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a job ended with an error of the bridge", exc_info=error)

    async def _work(self, payload: bytes) -> None:
        began = time.monotonic()
        outcome, job_id, result = await self._outcome(payload)
        await failpoints.reach(BEFORE_RESULT)
        if not await self._finish(payload, result):
            outcome = "lost"
            log.warning("another worker has the job of this result; it is dropped", job_id=job_id)
        await failpoints.reach(AFTER_RESULT)
        self._metrics.jobs.labels(outcome).inc()
        if outcome in {"completed", "failed"}:
            seconds = time.monotonic() - began
            self._metrics.seconds.observe(seconds)
            log.info("a job ended", job_id=job_id, status=outcome, seconds=round(seconds, 2))

    async def _outcome(self, payload: bytes) -> tuple[str, object, bytes]:
        """Return the outcome of a job, its job_id, and its result; empty if nobody can be told."""
        job_id: object = None
        try:
            job = read_job(payload)
            job_id = job.job_id
            await self._refuse_deadly(payload)
            return "completed", job_id, await self._measurement.result(job)
        except JobRefused as error:
            job_id = error.job_id if job_id is None else job_id
            if job_id is None:
                log.warning(NO_ID, num_bytes=len(payload), reason=str(error))
                return "dropped", None, b""
            return "failed", job_id, results.failed(job_id, str(error))
        except Exception:
            log.exception("a job failed by an error of the bridge", job_id=job_id)
            if job_id is None:
                return "dropped", None, b""
            return "failed", job_id, results.failed(job_id, "the bridge failed; its log says why")

    async def _refuse_deadly(self, payload: bytes) -> None:
        with contextlib.suppress(*failures_of_redis()):
            if (num_losses := await self._lists.num_losses(payload)) >= MAX_LOSSES:
                raise JobRefused(f"its worker was lost {num_losses} times")

    async def _finish(self, payload: bytes, result: bytes) -> bool:
        """Push the result. It is repeated until there is an answer: the script does nothing the second time."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return await self._lists.finish(payload, result)
            except failures_of_redis() as error:
                log.warning("a result cannot be pushed yet", error=type(error).__name__)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
