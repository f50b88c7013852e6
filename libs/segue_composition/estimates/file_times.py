"""When masterings, analyses and separations will be complete: a pure function of the jobs of one kind at one moment.

What a file costs is known by its size and format, from files before it. The jobs are done in the order of the queue,
some at once; one whose cost is unknown never ends, and neither does what waits behind it.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Final

from segue_audio.formats import FileFormat
from segue_composition.estimates.piece_work import LEAST_LEFT
from segue_composition.estimates.ready_times import ReadyTime
from segue_composition.file_jobs import FILE_JOBS

if TYPE_CHECKING:
    from segue_runtime.store.pool.workload import UnfinishedJob, Workload

FILE_JOBS_AT_ONCE: Final = 2
"""How many masterings, how many analyses, and how many separations, a conductor works on at once."""
MEGABYTE: Final = 1e6
MEDIA_TYPES: Final = frozenset(each.value.media_type for each in FileFormat)


def file_stage(kind: str, media_type: str) -> str:
    """Return the stage under which a kind of job keeps its costs, in seconds of work for a megabyte of the file."""
    return f"{kind} {media_type if media_type in MEDIA_TYPES else 'other'}"


def file_times(workload: Workload, kind: str, now: float) -> dict[str, ReadyTime]:
    """Return the estimate of each unfinished job of a kind, by name. `now` is the wall clock's time."""
    jobs = workload.in_order()
    free_s = [0.0] * max(FILE_JOBS_AT_ONCE, sum(job.is_held for job in jobs))
    found: dict[str, ReadyTime] = {}
    for job in jobs:
        start_s = heapq.heappop(free_s)
        ready_s = start_s + _left_s(job, workload.costs.get(file_stage(kind, job.source_type)), kind, now)
        heapq.heappush(free_s, ready_s)
        found[job.name] = ReadyTime(_known(start_s), _known(ready_s))
    return found


def _left_s(job: UnfinishedJob, cost: float | None, kind: str, now: float) -> float:
    if cost is None or not job.source_bytes:
        return math.inf
    whole_s = cost * job.source_bytes / MEGABYTE
    if kind in FILE_JOBS:
        left_s = whole_s * (1 - FILE_JOBS[kind].FromString(job.resource).fraction_done)
    else:
        left_s = whole_s - (now - job.started if job.started is not None else 0.0)
    return min(whole_s, max(LEAST_LEFT * whole_s, left_s))


def _known(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None
