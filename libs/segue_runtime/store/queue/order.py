"""The order of waiting jobs in SQL: functions that run inside a transaction.

Lost leases come first, then cancelled jobs, then priorities from the highest; in each, owners in weighted turns
(`turns`), each with its oldest job, without those at their running limit. The table `queue_counts` answers how many
jobs of an owner are before another one in a few hundred rows at most, however many wait; beside it, a question costs
one row for each owner with waiting jobs.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_runtime.store.queue.schema import STEPS
from segue_runtime.store.queue.turns import STEP, Standing, Turns
from segue_runtime.store.records import Depth
from segue_runtime.tenants import Priority

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from segue_runtime.store.records import Share
    from segue_runtime.store.threads import Transaction

WAITING: Final = "finished IS NULL AND claimed_by IS NULL AND cancel_reason IS NULL"
ENDING: Final = "finished IS NULL AND claimed_by IS NULL AND cancel_reason IS NOT NULL"
RUNNING: Final = "finished IS NULL AND claimed_by IS NOT NULL AND cancel_reason IS NULL"
OF_KINDS: Final = "(?1 = '[]' OR kind IN (SELECT value FROM json_each(?1)))"
# A lease is held from its last renewal to its end. A second of tolerance covers the rounding of their difference.
HELD: Final = "claimed_by IS NOT NULL AND ?2 BETWEEN lease_until - coalesce(lease_s, 0) - 1 AND lease_until"
LOST: Final = f"""
SELECT id FROM jobs INDEXED BY jobs_held
WHERE finished IS NULL AND claimed_by IS NOT NULL AND NOT ({HELD}) AND {OF_KINDS} ORDER BY id LIMIT 1
"""  # noqa: S608 - constants
CANCELLED: Final = f"SELECT id FROM jobs INDEXED BY jobs_ending WHERE {ENDING} AND {OF_KINDS} ORDER BY id LIMIT 1"  # noqa: S608
WAITING_OF_OWNERS: Final = f"FROM queue_counts WHERE is_ending = 0 AND step = {STEPS[-1]}"
NUM_RUNNING: Final = f"(SELECT count(*) FROM jobs INDEXED BY jobs_running WHERE {RUNNING} AND jobs.owner = found.owner)"  # noqa: S608
STANDINGS: Final = f"""
SELECT priority, found.owner AS owner, num, coalesce(weight, 1) AS weight, coalesce(number, 0) AS number,
    max(coalesce(present, 0), coalesce(served + {STEP} / coalesce(weight, 1), 0)) AS tag,
    CASE WHEN running IS NOT NULL THEN max(0, running - {NUM_RUNNING}) END AS may_start
FROM (SELECT priority, owner, sum(num) AS num {WAITING_OF_OWNERS} {{of_priority}} GROUP BY priority, owner) AS found
LEFT JOIN queue_owners USING (owner) LEFT JOIN turns USING (priority, owner) LEFT JOIN priorities USING (priority)
"""  # noqa: S608 - constants
NEXT: Final = f"""
WITH standings AS ({STANDINGS.format(of_priority="AND priority = ?2")})
SELECT head, owner, tag, (SELECT min(tag) FROM standings WHERE coalesce(may_start, 1) > 0) AS smallest FROM (
    SELECT tag, number, owner, (
        SELECT id FROM jobs INDEXED BY jobs_waiting
        WHERE {WAITING} AND jobs.priority = ?2 AND jobs.owner = standings.owner AND {OF_KINDS} ORDER BY id LIMIT 1
    ) AS head
    FROM standings WHERE coalesce(may_start, 1) > 0)
WHERE head IS NOT NULL ORDER BY tag, number LIMIT 1
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Turn:
    """What a claim costs its owner: its tag in the priority when it was served, and the smallest tag of all owners."""

    priority: int
    owner: str
    tag: int
    present: int


def _before(is_ending: int) -> str:
    """Return the query for the number of jobs before an id: whole buckets, from the largest to the smallest."""
    counts = f"SELECT num FROM queue_counts WHERE is_ending = {is_ending} AND priority = ?3 AND owner = ?1 AND step ="  # noqa: S608
    parts = [f"{counts} {STEPS[-1]} AND bucket < ?2 >> {STEPS[-1]}"]
    for step, above in itertools.pairwise(STEPS):
        parts.append(f"{counts} {step} AND bucket >= (?2 >> {above}) << {above - step} AND bucket < ?2 >> {step}")
    rows = "jobs INDEXED BY jobs_ending" if is_ending else "jobs INDEXED BY jobs_waiting"
    where = ENDING if is_ending else f"{WAITING} AND priority = ?3 AND owner = ?1"
    last = f"SELECT count(*) FROM {rows} WHERE {where} AND id >= (?2 >> {STEPS[0]}) << {STEPS[0]} AND id < ?2"  # noqa: S608
    return f"SELECT sum(num) FROM ({' UNION ALL '.join([*parts, last])})"  # noqa: S608 - constants


BEFORE: Final = (_before(0), _before(1))


def next_job(cx: sqlite3.Connection, steady_now: float, kinds: Sequence[str]) -> tuple[int, Turn | None] | None:
    """Return the id of the job to claim next, and the turn that it takes; no kinds means any kind."""
    kind_list = json.dumps(list(kinds))
    for query, values in ((LOST, (kind_list, steady_now)), (CANCELLED, (kind_list,))):
        row = cx.execute(query, values).fetchone()
        if row is not None:
            return int(row[0]), None  # it had its turn, or needs none to end
    for priority in sorted(Priority, reverse=True):
        row = cx.execute(NEXT, (kind_list, priority)).fetchone()
        if row is not None:
            return int(row["head"]), Turn(priority, row["owner"], row["tag"], row["smallest"])
    return None


def take_turn(tx: Transaction, turn: Turn) -> None:
    """Note that an owner was served."""
    tx.cx.execute(
        "INSERT INTO turns VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET served = excluded.served",
        (turn.priority, turn.owner, turn.tag),
    )
    tx.cx.execute(
        "INSERT INTO priorities VALUES (?, ?) ON CONFLICT DO UPDATE SET present = max(present, excluded.present)",
        (turn.priority, turn.present),
    )


def set_share(tx: Transaction, owner: str, share: Share) -> None:
    """Write an owner's weight and running limit."""
    tx.cx.execute(
        "INSERT INTO queue_owners (owner, weight, running) VALUES (?, ?, ?) ON CONFLICT (owner) "
        "DO UPDATE SET weight = excluded.weight, running = excluded.running "
        "WHERE weight != excluded.weight OR running IS NOT excluded.running",
        (owner, share.weight, share.running),
    )


def any_claimable(cx: sqlite3.Connection, steady_now: float, kinds: Sequence[str]) -> bool:
    """Tell whether a job of some kinds can be claimed; no kinds means any kind."""
    kind_list = json.dumps(list(kinds))
    waiting = f"SELECT 1 FROM queue_depths WHERE num > 0 AND {OF_KINDS} LIMIT 1"  # noqa: S608 - constants
    if cx.execute(waiting, (kind_list,)).fetchone() is None:
        return cx.execute(LOST, (kind_list, steady_now)).fetchone() is not None
    return next_job(cx, steady_now, kinds) is not None


def standings(cx: sqlite3.Connection) -> list[Standing]:
    """Return the owners with waiting jobs, in each priority."""
    return [
        Standing(
            row["priority"], row["owner"], row["num"], row["tag"], row["weight"], row["number"], row["may_start"]
        )
        for row in cx.execute(STANDINGS.format(of_priority=""))
    ]  # fmt: skip


def positions(cx: sqlite3.Connection, names: Sequence[str]) -> Mapping[str, int]:
    """Return the positions of jobs in the order of `claim`, from 1; jobs that do not wait are left out."""
    cx.execute("BEGIN")  # one snapshot for all queries
    try:
        query = (
            "SELECT id, name, owner, priority, cancel_reason IS NOT NULL AS is_ending FROM jobs "
            "WHERE name IN (SELECT value FROM json_each(?)) AND finished IS NULL AND claimed_by IS NULL"
        )
        found = cx.execute(query, (json.dumps(list(names)),)).fetchall()
        ending = f"SELECT coalesce(sum(num), 0) FROM queue_counts WHERE is_ending = 1 AND step = {STEPS[-1]}"  # noqa: S608
        num_ending: int = cx.execute(ending).fetchone()[0]
        turns = Turns(standings(cx)) if found else Turns(())
        places: dict[str, int] = {}
        for row in found:
            is_ending: int = row["is_ending"]
            owner, priority = ("", 0) if is_ending else (row["owner"], row["priority"])
            before: int = cx.execute(BEFORE[is_ending], (owner, row["id"], priority)).fetchone()[0]
            if not is_ending:
                before = num_ending + turns.num_before(owner, priority, before)
            places[row["name"]] = before + 1
        return places
    finally:
        cx.execute("COMMIT")


def num_waiting(cx: sqlite3.Connection, owner: str | None = None) -> int:
    """Count the waiting jobs that are not cancelled, of all owners or of one."""
    if owner is None:
        found = cx.execute(f"SELECT coalesce(sum(num), 0) {WAITING_OF_OWNERS}")
    else:
        priorities = ", ".join(str(int(each)) for each in Priority)
        query = f"SELECT coalesce(sum(num), 0) {WAITING_OF_OWNERS} AND priority IN ({priorities}) AND owner = ?"
        found = cx.execute(query, (owner,))
    count: int = found.fetchone()[0]
    return count


def asked_ms(cx: sqlite3.Connection, owner: str) -> int:
    """Return how much audio the unfinished jobs of an owner will make."""
    row = cx.execute("SELECT asked_ms FROM queue_owners WHERE owner = ?", (owner,)).fetchone()
    return 0 if row is None else int(row[0])


def depths(cx: sqlite3.Connection) -> dict[str, Depth]:
    """Count waiting and running jobs by kind."""
    query = (
        "SELECT kind, sum(waiting) AS waiting, sum(running) AS running FROM ("
        "SELECT kind, num AS waiting, 0 AS running FROM queue_depths UNION ALL "
        "SELECT kind, 0, 1 FROM jobs INDEXED BY jobs_held WHERE finished IS NULL AND claimed_by IS NOT NULL"
        ") GROUP BY kind HAVING sum(waiting) + sum(running) > 0"
    )
    return {row["kind"]: Depth(row["waiting"], row["running"]) for row in cx.execute(query)}
