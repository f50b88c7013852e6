"""The event log in SQL: functions that run inside a transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from segue_runtime.errors import CursorAhead
from segue_runtime.store import jobs
from segue_runtime.store.owners import usage
from segue_runtime.store.records import Event, Fenced, LogEnded, NewEvent, Progress, TailLost, new_stamp

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from segue_runtime.store.owners.records import Delivered
    from segue_runtime.store.records import RowMark
    from segue_runtime.store.threads import Transaction


def append(
    tx: Transaction,
    name: str,
    epoch: int,
    events: Sequence[NewEvent],
    *,
    after: RowMark,
    resource: bytes | None,
    state: str | None,
    checkpoint: bytes | None,
    expires: float | None,
    delivered: Delivered,
) -> list[Event]:
    """Append events and change their job; `expires` ends the job, which has delivered something."""
    job = jobs.need(tx.cx, name)
    if job.is_finished:
        raise LogEnded(f"{name} has ended with event {job.last_sequence}", metadata={"name": name})
    jobs.check_epoch(job, epoch)
    if job.last_row != after:
        raise Fenced(
            f"the log of {name} ends with row {job.last_sequence}; its writer knows another row {after.sequence}",
            metadata={"name": name},
        )
    stamp = new_stamp() if events else job.last_stamp
    written = [
        Event(sequence, tx.now, event.kind, event.payload, stamp)
        for sequence, event in enumerate(events, start=job.last_sequence + 1)
    ]
    tx.cx.executemany(
        "INSERT INTO events SELECT id, ?, ?, ?, ?, ? FROM jobs WHERE name = ?",
        [(event.sequence, event.time, event.kind, event.payload, event.stamp, name) for event in written],
    )
    tx.cx.execute(
        "UPDATE jobs SET last_sequence = ?, last_stamp = ?, resource = coalesce(?, resource), "
        "state = coalesce(?, state), checkpoint = coalesce(?, checkpoint) WHERE name = ?",
        (job.last_sequence + len(written), stamp, resource, state, checkpoint, name),
    )
    if checkpoint is not None:
        tx.cx.execute("UPDATE jobs SET claims = 0, alone = 0, lone_losses = 0 WHERE name = ?", (name,))
    if expires is not None:
        jobs.end_sections(tx, job)
        usage.add_delivered(tx, name, job.owner, delivered)
        tx.cx.execute(
            "UPDATE jobs SET finished = ?, expires = ?, claimed_by = NULL, lease_until = NULL, checkpoint = NULL "
            "WHERE name = ?",
            (tx.now, expires, name),
        )
    return written


def set_progress(tx: Transaction, name: str, epoch: int, payload: bytes) -> Progress:
    """Replace the progress of a job."""
    jobs.check_epoch(jobs.need(tx.cx, name), epoch)
    row = tx.cx.execute(
        "INSERT INTO progress SELECT id, 1, ? FROM jobs WHERE name = ? "
        "ON CONFLICT (job) DO UPDATE SET version = version + 1, payload = excluded.payload RETURNING version, payload",
        (payload, name),
    ).fetchone()
    return Progress(*row)


def progress(cx: sqlite3.Connection, name: str) -> Progress:
    """Return the progress of a job; version 0 when there is none."""
    query = "SELECT version, payload FROM progress JOIN jobs ON jobs.id = progress.job WHERE name = ?"
    row = cx.execute(query, (name,)).fetchone()
    return Progress(0, b"") if row is None else Progress(*row)


def read(cx: sqlite3.Connection, name: str, after: int, limit: int, stamp: int) -> list[Event]:
    """Read events from one snapshot of the job and its log."""
    cx.execute("BEGIN")
    try:
        job = jobs.need(cx, name)
        known = "SELECT 1 FROM events WHERE job = (SELECT id FROM jobs WHERE name = ?) AND sequence = ? AND stamp = ?"
        if stamp and cx.execute(known, (name, after, stamp)).fetchone() is None:
            raise TailLost(f"the log of {name} has lost row {after}", metadata={"name": name})
        if after > job.last_sequence:
            raise CursorAhead(
                f"{name} has {job.last_sequence} events; the cursor stands at {after}",
                metadata={"lastSequence": str(job.last_sequence)},
            )
        query = (
            "SELECT sequence, time, kind, payload, stamp FROM events WHERE job = (SELECT id FROM jobs WHERE name = ?) "
            "AND sequence > ? ORDER BY sequence LIMIT ?"
        )
        return [Event(*row) for row in cx.execute(query, (name, after, limit))]
    finally:
        cx.execute("COMMIT")


def states_of(cx: sqlite3.Connection, names: Sequence[str]) -> dict[str, tuple[int, bool]]:
    """Return for each job its last sequence, and whether it is cancelled or finished: what waiters wait for."""
    query = (
        "SELECT name, last_sequence, cancel_reason IS NOT NULL OR finished IS NOT NULL FROM jobs "
        "WHERE name IN (SELECT value FROM json_each(?))"
    )
    return {row[0]: (row[1], bool(row[2])) for row in cx.execute(query, (json.dumps(list(names)),))}
