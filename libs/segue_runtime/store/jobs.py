"""Jobs and their leases in SQL: functions that run inside a transaction."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from segue_runtime.errors import NotFinished, QueueFull, RequestIdReused
from segue_runtime.store import uploads
from segue_runtime.store.owners import usage
from segue_runtime.store.queue import limits, order
from segue_runtime.store.records import Created, Fenced, Job, NewJob, Page, Renewal, new_stamp, not_found

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from segue_runtime.store.threads import Transaction

# A job matches when it has every wanted label.
LISTED = """
SELECT * FROM jobs WHERE {whose} AND kind IN (SELECT value FROM json_each(?2))
AND (?3 = '[]' OR state IN (SELECT value FROM json_each(?3)))
AND NOT EXISTS (
    SELECT 1 FROM json_each(?4) AS wanted WHERE NOT EXISTS (
        SELECT 1 FROM json_each(jobs.labels) AS one WHERE one.key = wanted.key AND one.value = wanted.value))
AND (?5 IS NULL OR id < ?5) ORDER BY id DESC LIMIT ?6
"""


def job_of(row: sqlite3.Row) -> Job:
    """Make a record from a row."""
    values: dict[str, Any] = {key: row[key] for key in row.keys() if key != "id"}  # noqa: SIM118 - a Row iterates over its values
    models = None if row["models"] is None else tuple(json.loads(row["models"]))
    values |= {"labels": json.loads(row["labels"]), "alone": bool(row["alone"]), "models": models}
    return Job(**values)


def find(cx: sqlite3.Connection, name: str) -> Job | None:
    """Return the job of a name, or None."""
    row = cx.execute("SELECT * FROM jobs WHERE name = ?", (name,)).fetchone()
    return None if row is None else job_of(row)


def need(cx: sqlite3.Connection, name: str) -> Job:
    """Return the job of a name; raise when there is none."""
    job = find(cx, name)
    if job is None:
        raise not_found(name)
    return job


def create(tx: Transaction, new: NewJob, queue_limit: int) -> Created:
    """Write a job, or return the one that the same request created before."""
    if new.request_id is not None:
        row = tx.cx.execute(
            "SELECT digest, name FROM requests JOIN jobs ON jobs.id = requests.job "
            "WHERE requests.owner = ? AND requests.request_id = ?",
            (new.owner, new.request_id),
        ).fetchone()
        if row is not None and row["digest"] != new.spec_digest:
            raise RequestIdReused(
                f"request_id {new.request_id} was used for another request; send a new UUID",
                metadata={"name": row["name"]},
            )
        if row is not None:
            return Created(need(tx.cx, row["name"]), is_new=False)
    for upload in (new.upload, new.second_upload):
        if upload is not None:
            uploads.check_usable(tx.cx, upload)
    _check_limits(tx, new)
    num_waiting = order.num_waiting(tx.cx)
    if num_waiting >= queue_limit:
        raise QueueFull(f"the queue is full: {num_waiting} jobs wait", metadata={"limit": str(queue_limit)})
    order.set_share(tx, new.owner, new.share)
    stamp = new_stamp() if new.first_events else 0
    cursor = tx.cx.execute(
        "INSERT INTO jobs (name, kind, owner, request_id, labels, spec, resource, state, attached_until, "
        "attached_s, last_sequence, last_stamp, created, call_id, upload, second_upload, priority, audio_ms, models) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(new.name, new.kind, new.owner, new.request_id, json.dumps(dict(new.labels)), new.spec, new.resource),
            *(new.state, None if new.attached_s is None else tx.steady_now + new.attached_s, new.attached_s),
            *(len(new.first_events), stamp, tx.now, new.call_id, new.upload, new.second_upload, new.priority),
            *(new.audio_ms, None if new.models is None else json.dumps(list(new.models))),
        ),
    )
    tx.cx.executemany(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)",
        [
            (cursor.lastrowid, sequence, tx.now, event.kind, event.payload, stamp)
            for sequence, event in enumerate(new.first_events, start=1)
        ],
    )
    if new.request_id is not None:
        row = (new.owner, new.request_id, new.spec_digest, cursor.lastrowid)
        tx.cx.execute("INSERT INTO requests VALUES (?, ?, ?, ?)", row)
    return Created(need(tx.cx, new.name), is_new=True)


def _check_limits(tx: Transaction, new: NewJob) -> None:
    """Raise QuotaExceeded when the owner has reached one of its limits."""
    share = new.share
    if share.queued is not None:
        limits.check_queued(new, order.num_waiting(tx.cx, new.owner))
    if share.audio_s_a_day is not None:
        made_s = usage.audio_seconds(tx.cx, new.owner, tx.now)
        limits.check_audio(new, made_s, order.asked_ms(tx.cx, new.owner), tx.now)
    if share.storage_bytes is not None:
        limits.check_storage(new.owner, usage.stored_bytes(tx.cx, new.owner), 1, share.storage_bytes)


def page(
    cx: sqlite3.Connection,
    owner: str | None,
    kinds: Sequence[str],
    states: Sequence[str],
    labels: Mapping[str, str],
    limit: int,
    after: int | None,
) -> Page:
    """List the jobs of an owner, or of all, newest first."""
    values = (owner, json.dumps(list(kinds)), json.dumps(list(states)), json.dumps(dict(labels)), after, limit + 1)
    query = LISTED.format(whose="owner = ?1" if owner is not None else "?1 IS NULL")
    rows = cx.execute(query, values).fetchall()
    jobs = [job_of(row) for row in rows[:limit]]
    return Page(jobs, rows[limit - 1]["id"] if len(rows) > limit else None)


def delete(tx: Transaction, name: str) -> None:
    """Remove a finished job with its events and requests."""
    if not need(tx.cx, name).is_finished:
        raise NotFinished(f"{name} has not ended: cancel it first, then delete it", metadata={"name": name})
    tx.cx.execute("DELETE FROM jobs WHERE name = ?", (name,))


def expired(cx: sqlite3.Connection, now: float, limit: int) -> list[Job]:
    """List finished jobs past their retention time."""
    query = "SELECT * FROM jobs WHERE expires <= ? ORDER BY expires LIMIT ?"
    return [job_of(row) for row in cx.execute(query, (now, limit))]


def scan(cx: sqlite3.Connection, kind: str, limit: int, after: int | None) -> Page:
    """List the jobs of a kind, oldest first."""
    query = "SELECT * FROM jobs WHERE kind = ? AND id > ? ORDER BY id LIMIT ?"
    rows = cx.execute(query, (kind, after or 0, limit)).fetchall()
    return Page([job_of(row) for row in rows], rows[-1]["id"] if len(rows) == limit else None)


def num_deleted(cx: sqlite3.Connection) -> int:
    """Return how many jobs were ever deleted: SQLite knows the highest id that it ever gave."""
    query = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'jobs'), 0) - (SELECT count(*) FROM jobs)"
    count: int = cx.execute(query).fetchone()[0]
    return count


def claim(tx: Transaction, conductor_id: str, lease_s: float, kinds: Sequence[str]) -> Job | None:
    """Claim a job under a new epoch."""
    found = order.next_job(tx.cx, tx.steady_now, kinds)
    if found is None:
        return None
    row_id, turn = found
    if turn is not None:
        order.take_turn(tx, turn)
    return _hold(tx, row_id, conductor_id, lease_s)


def claim_one(tx: Transaction, name: str, holder: str, lease_s: float) -> Job | None:
    """Claim a certain job, if nobody holds it."""
    query = f"SELECT id FROM jobs WHERE name = ?1 AND finished IS NULL AND NOT ({order.HELD})"  # noqa: S608 - a constant
    row = tx.cx.execute(query, (name, tx.steady_now)).fetchone()
    return None if row is None else _hold(tx, row["id"], holder, lease_s)


def _hold(tx: Transaction, row_id: int, holder: str, lease_s: float) -> Job:
    query = "SELECT owner, claimed_by, lease_until FROM jobs WHERE id = ?"
    before = tx.cx.execute(query, (row_id,)).fetchone()
    usage.end_sections(tx, row_id, before["owner"], before["lease_until"])
    attached_from = None if before["claimed_by"] is None else tx.steady_now
    tx.cx.execute(
        "UPDATE jobs SET epoch = epoch + 1, claims = claims + 1, claimed_by = ?, lease_until = ?, lease_s = ?, "
        "lone_losses = lone_losses + alone, alone = 0, started = coalesce(started, ?), "
        # Callers get their time again, as in `renew`.
        "attached_until = coalesce(max(attached_until, ? + attached_s), attached_until) WHERE id = ?",
        (holder, tx.steady_now + lease_s, lease_s, tx.now, attached_from, row_id),
    )
    job = job_of(tx.cx.execute("SELECT * FROM jobs WHERE id = ?", (row_id,)).fetchone())
    return replace(job, is_taken_over=before["claimed_by"] is not None)


def check_epoch(job: Job, epoch: int) -> None:
    """Raise Fenced when the job is not claimed under this epoch."""
    if job.is_finished or job.claimed_by is None or job.epoch != epoch:
        raise Fenced(f"{job.name} is no longer held under epoch {epoch}", metadata={"name": job.name})


def renew(tx: Transaction, name: str, epoch: int, lease_s: float) -> Renewal:
    """Extend a lease."""
    job = need(tx.cx, name)
    check_epoch(job, epoch)
    attached_until = job.attached_until
    if attached_until is not None:
        longest = tx.steady_now + (job.attached_s or 0)
        # Callers cannot attach while the store does not answer, and no lease is renewed: they get their time again.
        was_away = (job.lease_until or 0) < tx.steady_now
        # One from before the machine's last start is too far ahead.
        attached_until = max(attached_until, longest) if was_away else min(attached_until, longest)
    tx.cx.execute(
        "UPDATE jobs SET lease_until = ?, lease_s = ?, attached_until = ?, worked_s = ? WHERE name = ?",
        (tx.steady_now + lease_s, lease_s, attached_until, _worked_s(tx, job), name),
    )
    return Renewal(job.cancel_reason, is_abandoned=attached_until is not None and attached_until < tx.steady_now)


def release(tx: Transaction, name: str, epoch: int) -> None:
    """Return a job to the queue."""
    job = need(tx.cx, name)
    check_epoch(job, epoch)
    end_sections(tx, job)
    tx.cx.execute(
        "UPDATE jobs SET claimed_by = NULL, lease_until = NULL, claims = max(0, claims - 1), alone = 0, worked_s = ? "
        "WHERE name = ?",
        (_worked_s(tx, job), name),
    )


def end_sections(tx: Transaction, job: Job) -> None:
    """Take the sections of a job's claim, which ends, out of the line."""
    (row_id,) = tx.cx.execute("SELECT id FROM jobs WHERE name = ?", (job.name,)).fetchone()
    usage.end_sections(tx, row_id, job.owner, job.lease_until)


def set_alone(tx: Transaction, name: str, epoch: int) -> None:
    """Note that a conductor's process works on nothing but this job, until its progress or the end of the claim."""
    check_epoch(need(tx.cx, name), epoch)
    tx.cx.execute("UPDATE jobs SET alone = 1 WHERE name = ?", (name,))


def _worked_s(tx: Transaction, job: Job) -> float:
    """Return the time that conductors have worked on a job, with the time since the last renewal of its lease.

    A conductor that was stopped for longer than its lease has not worked for longer.
    """
    lease_s = job.lease_s or 0.0
    since_renewal_s = tx.steady_now - ((job.lease_until or 0.0) - lease_s)
    return job.worked_s + min(lease_s, max(0.0, since_renewal_s))


def request_cancel(tx: Transaction, name: str, reason: str) -> Job:
    """Set the reason to cancel a job, unless it has one or has ended."""
    tx.cx.execute(
        "UPDATE jobs SET cancel_reason = coalesce(cancel_reason, ?) WHERE name = ? AND finished IS NULL", (reason, name)
    )
    return need(tx.cx, name)


def attach(tx: Transaction, name: str, for_s: float) -> None:
    """Extend the time until which an owner's stream counts as open."""
    job = need(tx.cx, name)
    longest_s = max(for_s, job.attached_s or 0)
    until = max(tx.steady_now + for_s, min(job.attached_until or 0, tx.steady_now + longest_s))
    tx.cx.execute(
        "UPDATE jobs SET attached_until = ?, attached_s = ? WHERE name = ? AND finished IS NULL",
        (until, longest_s, name),
    )
