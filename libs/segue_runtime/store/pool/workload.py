"""The work of a mesh at one moment, in SQL: unfinished jobs, the pool's slots, and measured speeds and costs."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_runtime.store.pool import tables
from segue_runtime.store.pool.assignment import Assignment, PoolMember, Snapshot
from segue_runtime.store.queue import order
from segue_runtime.store.queue.turns import in_turns
from segue_runtime.tenants import Priority

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from segue_runtime.store.pool.records import KnownRenderer, ModelKey
    from segue_runtime.store.queue.turns import Standing
    from segue_runtime.store.threads import Transaction

MAX_JOBS: Final = 256
"""So many held jobs and so many waiting ones are read."""
NUM_COSTS: Final = 64
"""How many costs of a stage are kept."""
_COLUMNS: Final = """
SELECT jobs.name, jobs.owner, jobs.claimed_by IS NOT NULL AS is_held, jobs.spec, jobs.resource,
    jobs.started, progress.payload AS progress, events.kind AS row_kind, events.payload AS row,
    events.time AS row_time, uploads.offset AS source_bytes, uploads.media_type AS source_type, jobs.priority
FROM jobs {index} LEFT JOIN progress ON progress.job = jobs.id
LEFT JOIN events ON events.job = jobs.id AND events.sequence = jobs.last_sequence
LEFT JOIN uploads ON uploads.name = jobs.upload
WHERE jobs.kind = ?1 AND jobs.finished IS NULL AND jobs.claimed_by {held} ORDER BY jobs.id LIMIT ?2
"""
_HELD: Final = _COLUMNS.format(index="INDEXED BY jobs_held", held="IS NOT NULL")
_WAITING: Final = _COLUMNS.format(index="INDEXED BY jobs_waiting", held="IS NULL AND jobs.cancel_reason IS NULL")


@dataclass(frozen=True, slots=True)
class UnfinishedJob:
    """A job that waits or is worked on."""

    name: str
    owner: str
    spec: bytes
    resource: bytes
    is_held: bool = False
    progress: bytes = b""
    row_kind: str = ""
    """The kind of the newest row of its log."""
    row: bytes = b""
    row_time: float = 0.0
    started: float | None = None
    """The wall clock's time of its first claim."""
    source_bytes: int = 0
    """The size of the upload that it works on; 0 if it needs none."""
    source_type: str = ""
    priority: int = Priority.NORMAL


@dataclass(frozen=True, slots=True)
class Workload:
    """The work of a mesh at one moment."""

    jobs: Sequence[UnfinishedJob]
    """The jobs of one kind: those that conductors hold, then the waiting ones, each oldest first."""
    standings: Sequence[Standing]
    """The owners with waiting jobs of any kind, in each priority of the queue."""
    renderers: Sequence[KnownRenderer]
    profiles: Mapping[ModelKey, bytes]
    """The profile of each remembered model."""
    speeds: Mapping[ModelKey, float]
    """The median of each model's newest speeds, else the declared one, in seconds of audio a second."""
    costs: Mapping[str, float]
    """The median of each stage's newest costs, in seconds of work for a second of audio, or a megabyte of a file."""

    def in_order(self, newcomer: UnfinishedJob | None = None) -> list[UnfinishedJob]:
        """Return the held jobs, then the waiting ones in the order in which they will be claimed."""
        waiting = [job for job in self.jobs if not job.is_held] + ([newcomer] if newcomer else [])
        return [job for job in self.jobs if job.is_held] + list(in_turns(waiting, self.standings))


def add_cost(tx: Transaction, stage: str, cost: float) -> None:
    """Remember what a stage took."""
    tx.cx.execute("INSERT INTO costs (stage, cost) VALUES (?, ?)", (stage, cost))
    tx.cx.execute(
        "DELETE FROM costs WHERE id IN (SELECT id FROM costs WHERE stage = ? ORDER BY id DESC LIMIT -1 OFFSET ?)",
        (stage, NUM_COSTS),
    )


def workload(cx: sqlite3.Connection, kind: str, steady_now: float) -> Workload:
    """Read the work of the jobs of one kind."""
    cx.execute("BEGIN")  # one snapshot for all queries
    try:
        rows = [row for query in (_HELD, _WAITING) for row in cx.execute(query, (kind, MAX_JOBS))]
        present = tables.renderers(cx, steady_now)
        return Workload(
            jobs=[_job_of(row) for row in rows],
            standings=order.standings(cx),
            renderers=present,
            profiles={each.key: each.profile for each in tables.models(cx, steady_now)},
            speeds=_speeds(cx, present),
            costs=_costs(cx),
        )
    finally:
        cx.execute("COMMIT")


def _job_of(row: sqlite3.Row) -> UnfinishedJob:
    return UnfinishedJob(
        name=row["name"],
        owner=row["owner"],
        spec=row["spec"],
        resource=row["resource"],
        is_held=bool(row["is_held"]),
        progress=row["progress"] or b"",
        row_kind=row["row_kind"] or "",
        row=row["row"] or b"",
        row_time=row["row_time"] or 0.0,
        started=row["started"],
        source_bytes=row["source_bytes"] or 0,
        source_type=row["source_type"] or "",
        priority=row["priority"],
    )


def _speeds(cx: sqlite3.Connection, present: Sequence[KnownRenderer]) -> dict[ModelKey, float]:
    measured = tables.speeds(cx)
    known = Assignment(Snapshot(members=[PoolMember(each.offer) for each in present], rows=(), speeds=measured))
    keys = {model.key for each in present for model in each.offer.models} | {key for key, _ in measured}
    return {key: known.speed(key) for key in keys}


def _costs(cx: sqlite3.Connection) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for row in cx.execute("SELECT stage, cost FROM costs"):
        found.setdefault(row["stage"], []).append(row["cost"])
    return {stage: statistics.median(costs) for stage, costs in found.items()}
