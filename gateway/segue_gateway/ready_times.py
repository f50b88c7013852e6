"""The estimates of this gateway: when compositions will be complete, computed again twice a second at most."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Final

from segue.composer.v1 import spec_pb2
from segue_composition import state
from segue_composition.estimates.ready_times import ready_times
from segue_composition.job_kinds import COMPOSITION
from segue_runtime.store.pool.workload import MAX_JOBS, UnfinishedJob

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


class ReadyTimes:
    """The estimates of all unfinished compositions."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._num_workers = settings.conductor.count
        self._unknown_retry_s = settings.queue.retry_after_s
        self._store = store
        self._known: Mapping[str, ReadyTime] = {}
        self._read = -NEW_EVERY_S
        self._reading = asyncio.Lock()

    async def fill(self, target: Duration, name: str) -> None:
        """Fill in when a composition will be complete; nothing if that is unknown."""
        # A new composition is not among the present estimates; of very many, only the first ones are ever.
        is_new = name not in self._known and len(self._known) < MAX_JOBS
        estimate = (await self._all(0.0 if is_new else NEW_EVERY_S)).get(name)
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
        newcomer = UnfinishedJob(NEWCOMER, owner, planned.SerializeToString(), piece.SerializeToString())
        estimate = (await self._compute(newcomer))[NEWCOMER]
        _set(answer.estimate.queue_wait, estimate.start_s)
        _set(answer.estimate.ready_in, estimate.ready_s)

    async def retry_after_s(self) -> float:
        """Return in how many whole seconds a conductor will probably take the next composition out of the queue."""
        starts_s = [each.start_s for each in (await self._all(0.0)).values() if each.start_s]
        if not starts_s:
            return self._unknown_retry_s
        return min(LONGEST_RETRY_S, max(SHORTEST_RETRY_S, math.ceil(min(starts_s))))

    async def _all(self, max_age_s: float) -> Mapping[str, ReadyTime]:
        """Return estimates of a certain age at most; callers at the same time share the work."""
        asked = time.monotonic()
        async with self._reading:
            if self._read < asked - max_age_s:
                began = time.monotonic()
                self._known, self._read = await self._compute(), began
        return self._known

    async def _compute(self, newcomer: UnfinishedJob | None = None) -> Mapping[str, ReadyTime]:
        workload = await self._store.pool.workload(COMPOSITION)
        return await asyncio.to_thread(ready_times, workload, time.time(), self._num_workers, newcomer)


def _set(target: Duration, seconds: float | None) -> None:
    if seconds is not None:
        target.FromNanoseconds(round(max(0.0, seconds) * 1e9))
