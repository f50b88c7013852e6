"""The estimates of this gateway: when jobs will be complete, computed again twice a second at most."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Final

from segue.composer.v1 import spec_pb2
from segue_composition import state
from segue_composition.estimates.file_times import file_times
from segue_composition.estimates.ready_times import ready_times
from segue_composition.job_kinds import ANALYSIS, COMPOSITION, MASTERING, SEPARATION
from segue_runtime.store.pool.workload import MAX_JOBS, UnfinishedJob
from segue_runtime.tenants import Priority

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Mapping, Sequence

    from google.protobuf.duration_pb2 import Duration

    from segue.composer.v1 import composition_pb2
    from segue.composer.v1.spec_pb2 import CompositionSpec
    from segue.planner.v1.planner_pb2 import CreatePlanResponse
    from segue_composition.estimates.ready_times import ReadyTime
    from segue_runtime.settings import Settings
    from segue_runtime.store import Store

NEW_EVERY_S: Final = 0.5
SHORTEST_RETRY_S: Final = 1.0
LONGEST_RETRY_S: Final = 60.0
NEWCOMER: Final = ""


class KnownTimes:
    """The newest estimates of the unfinished jobs of one kind."""

    def __init__(self, compute: Callable[[], Awaitable[Mapping[str, ReadyTime]]]) -> None:
        self._compute = compute
        self._known: Mapping[str, ReadyTime] = {}
        self._read = -NEW_EVERY_S
        self._reading = asyncio.Lock()

    async def get(self, name: str) -> ReadyTime | None:
        """Return the estimate of a job."""
        # A new job is not among the present estimates; of very many, only the first ones are ever.
        is_new = name not in self._known and len(self._known) < MAX_JOBS
        return (await self.all(0.0 if is_new else NEW_EVERY_S)).get(name)

    async def all(self, max_age_s: float = 0.0) -> Mapping[str, ReadyTime]:
        """Return estimates of a certain age at most; callers at the same time share the work."""
        asked = time.monotonic()
        async with self._reading:
            if self._read < asked - max_age_s:
                began = time.monotonic()
                self._known, self._read = await self._compute(), began
        return self._known


class ReadyTimes:
    """The estimates of all unfinished compositions, masterings, analyses and separations."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._num_workers = settings.conductor.count
        self._unknown_retry_s = settings.queue.retry_after_s
        self._store = store
        self._pieces = KnownTimes(self._compute)
        self._times = {
            COMPOSITION: self._pieces,
            MASTERING: KnownTimes(lambda: self._compute_files(MASTERING)),
            ANALYSIS: KnownTimes(lambda: self._compute_files(ANALYSIS)),
            SEPARATION: KnownTimes(lambda: self._compute_files(SEPARATION)),
        }

    async def fill(self, target: Duration, name: str, kind: str) -> None:
        """Fill in when a job will be complete; nothing if that is unknown."""
        estimate = await self._times[kind].get(name)
        if estimate is not None:
            _set(target, estimate.ready_s)

    async def fill_plan(
        self, answer: CreatePlanResponse, spec: CompositionSpec, kept: Sequence[composition_pb2.Section], owner: str
    ) -> None:
        """Fill in when a piece would be begun and complete, if it were created now."""
        planned = spec_pb2.CompositionSpec()
        planned.CopyFrom(spec)
        planned.plan.CopyFrom(answer.plan)
        piece = state.new_composition(NEWCOMER, owner, planned, time.time(), kept)
        piece.model = answer.estimate.model
        newcomer = UnfinishedJob(
            NEWCOMER,
            owner,
            planned.SerializeToString(),
            piece.SerializeToString(),
            priority=spec.priority or Priority.NORMAL,
        )
        estimate = (await self._compute(newcomer))[NEWCOMER]
        _set(answer.estimate.queue_wait, estimate.start_s)
        _set(answer.estimate.ready_in, estimate.ready_s)

    async def retry_after_s(self, names: Container[str] | None = None) -> float:
        """Return in how many whole seconds a conductor will probably claim the next composition, of all or of some."""
        known = (await self._pieces.all()).items()
        starts_s = [each.start_s for name, each in known if each.start_s and (names is None or name in names)]
        if not starts_s:
            return self._unknown_retry_s
        return min(LONGEST_RETRY_S, max(SHORTEST_RETRY_S, math.ceil(min(starts_s))))

    async def _compute(self, newcomer: UnfinishedJob | None = None) -> Mapping[str, ReadyTime]:
        workload = await self._store.pool.workload(COMPOSITION)
        return await asyncio.to_thread(ready_times, workload, time.time(), self._num_workers, newcomer)

    async def _compute_files(self, kind: str) -> Mapping[str, ReadyTime]:
        return file_times(await self._store.pool.workload(kind), kind, time.time())


def _set(target: Duration, seconds: float | None) -> None:
    if seconds is not None:
        target.FromNanoseconds(round(max(0.0, seconds) * 1e9))
