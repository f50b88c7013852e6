"""The order of waiting jobs in SQL: functions that run inside a transaction.

Lost leases come first, then cancelled jobs, then owners in turn: new owners first, then the owner whose last turn is
longest ago, each with its oldest job. The table `queue_counts` answers how many jobs are before another one in a few
hundred rows at most, however many wait; beside it, a question costs one row for each owner with waiting jobs.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Final

from segue_runtime.store.records import Depth
from segue_runtime.store.schema import STEPS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from segue_runtime.store.threads import Transaction

WAITING: Final = "finished IS NULL AND claimed_by IS NULL AND cancel_reason IS NULL"
ENDING: Final = "finished IS NULL AND claimed_by IS NULL AND cancel_reason IS NOT NULL"
OF_KINDS: Final = "(?1 = '[]' OR kind IN (SELECT value FROM json_each(?1)))"
# A lease is held from its last renewal to its end. A second of tolerance covers the rounding of their difference.
HELD: Final = "claimed_by IS NOT NULL AND ?2 BETWEEN lease_until - coalesce(lease_s, 0) - 1 AND lease_until"
LOST: Final = f"""
SELECT id FROM jobs INDEXED BY jobs_held
WHERE finished IS NULL AND claimed_by IS NOT NULL AND NOT ({HELD}) AND {OF_KINDS} ORDER BY id LIMIT 1
"""  # noqa: S608 - constants
CANCELLED: Final = f"SELECT id FROM jobs INDEXED BY jobs_ending WHERE {ENDING} AND {OF_KINDS} ORDER BY id LIMIT 1"  # noqa: S608
NUM_OF_OWNERS: Final = (
    f"SELECT owner, sum(num) AS num FROM queue_counts WHERE is_ending = 0 AND step = {STEPS[-1]} GROUP BY owner"  # noqa: S608
)
# A turn is given once, but all new owners have none: among them, the oldest job decides.
FAIR: Final = f"""
SELECT head FROM (
    SELECT coalesce(turn, 0) AS turn, (
        SELECT id FROM jobs INDEXED BY jobs_waiting WHERE {WAITING} AND jobs.owner = found.owner AND {OF_KINDS}
        ORDER BY id LIMIT 1) AS head
    FROM ({NUM_OF_OWNERS}) AS found LEFT JOIN turns USING (owner))
WHERE head IS NOT NULL ORDER BY turn, head LIMIT 1
"""  # noqa: S608 - constants
OWNERS: Final = f"""
SELECT owner, num FROM ({NUM_OF_OWNERS}) AS found LEFT JOIN turns USING (owner)
ORDER BY coalesce(turn, 0), CASE WHEN turn IS NULL THEN (
    SELECT min(id) FROM jobs INDEXED BY jobs_waiting WHERE {WAITING} AND jobs.owner = found.owner) END
"""  # noqa: S608 - constants


def _before(is_ending: int) -> str:
    """Return the query for the number of jobs before an id: whole buckets, from the largest to the smallest."""
    counts = f"SELECT num FROM queue_counts WHERE is_ending = {is_ending} AND owner = ?1 AND step ="  # noqa: S608
    parts = [f"{counts} {STEPS[-1]} AND bucket < ?2 >> {STEPS[-1]}"]
    for step, above in itertools.pairwise(STEPS):
        parts.append(f"{counts} {step} AND bucket >= (?2 >> {above}) << {above - step} AND bucket < ?2 >> {step}")
    rows = "jobs INDEXED BY jobs_ending" if is_ending else "jobs INDEXED BY jobs_waiting"
    where = ENDING if is_ending else f"{WAITING} AND owner = ?1"
    last = f"SELECT count(*) FROM {rows} WHERE {where} AND id >= (?2 >> {STEPS[0]}) << {STEPS[0]} AND id < ?2"  # noqa: S608
    return f"SELECT sum(num) FROM ({' UNION ALL '.join([*parts, last])})"  # noqa: S608 - constants


BEFORE: Final = (_before(0), _before(1))


def next_job(tx: Transaction, kinds: Sequence[str]) -> int | None:
    """Return the id of the job to claim next; no kinds means any kind."""
    kind_list = json.dumps(list(kinds))
    for query, values in ((LOST, (kind_list, tx.steady_now)), (CANCELLED, (kind_list,)), (FAIR, (kind_list,))):
        row = tx.cx.execute(query, values).fetchone()
        if row is not None:
            row_id: int = row[0]
            return row_id
    return None


def take_turn(tx: Transaction, owner: str) -> None:
    """Note that an owner was served."""
    tx.cx.execute(
        "INSERT INTO turns SELECT ?, coalesce(max(turn), 0) + 1 FROM turns WHERE true "
        "ON CONFLICT (owner) DO UPDATE SET turn = excluded.turn",
        (owner,),
    )


def any_claimable(cx: sqlite3.Connection, steady_now: float, kinds: Sequence[str]) -> bool:
    """Tell whether a job of some kinds waits or has lost its conductor; no kinds means any kind."""
    kind_list = json.dumps(list(kinds))
    waiting = f"SELECT 1 FROM queue_depths WHERE num > 0 AND {OF_KINDS} LIMIT 1"  # noqa: S608 - constants
    if cx.execute(waiting, (kind_list,)).fetchone() is not None:
        return True
    return cx.execute(LOST, (kind_list, steady_now)).fetchone() is not None


def positions(cx: sqlite3.Connection, names: Sequence[str]) -> Mapping[str, int]:
    """Return the positions of jobs in the order of `claim`, from 1; jobs that do not wait are left out."""
    cx.execute("BEGIN")  # one snapshot for all queries
    try:
        query = (
            "SELECT id, name, owner, cancel_reason IS NOT NULL AS is_ending FROM jobs "
            "WHERE name IN (SELECT value FROM json_each(?)) AND finished IS NULL AND claimed_by IS NULL"
        )
        found = cx.execute(query, (json.dumps(list(names)),)).fetchall()
        ending = f"SELECT coalesce(sum(num), 0) FROM queue_counts WHERE is_ending = 1 AND step = {STEPS[-1]}"  # noqa: S608
        num_ending: int = cx.execute(ending).fetchone()[0]
        owners = [(row["owner"], row["num"]) for row in cx.execute(OWNERS)]
        places: dict[str, int] = {}
        for row in found:
            is_ending: int = row["is_ending"]
            owner = "" if is_ending else row["owner"]
            before: int = cx.execute(BEFORE[is_ending], (owner, row["id"])).fetchone()[0]
            if not is_ending:
                before = num_ending + _before_in_turns(owners, owner, before)
            places[row["name"]] = before + 1
        return places
    finally:
        cx.execute("COMMIT")


def _before_in_turns(owners: Sequence[tuple[str, int]], owner: str, before: int) -> int:
    """Count the jobs that are served before an owner's job, which has `before` jobs of its owner before it."""
    place = [each for each, _ in owners].index(owner)
    return sum(min(num, before) for _, num in owners) + sum(num > before for _, num in owners[:place])


def num_waiting(cx: sqlite3.Connection) -> int:
    """Count the waiting jobs that are not cancelled."""
    count: int = cx.execute(f"SELECT coalesce(sum(num), 0) FROM ({NUM_OF_OWNERS})").fetchone()[0]  # noqa: S608 - a constant
    return count


def depths(cx: sqlite3.Connection) -> dict[str, Depth]:
    """Count waiting and running jobs by kind."""
    query = (
        "SELECT kind, sum(waiting) AS waiting, sum(running) AS running FROM ("
        "SELECT kind, num AS waiting, 0 AS running FROM queue_depths UNION ALL "
        "SELECT kind, 0, 1 FROM jobs INDEXED BY jobs_held WHERE finished IS NULL AND claimed_by IS NOT NULL"
        ") GROUP BY kind HAVING sum(waiting) + sum(running) > 0"
    )
    return {row["kind"]: Depth(row["waiting"], row["running"]) for row in cx.execute(query)}
