"""Usage by owner and day in SQL: functions that run inside a transaction.

Each amount is counted in the transaction of what it counts: the end of a job, the end of a section's lease, the bytes
of an upload. What fails or is fenced counts nothing, and nothing is counted twice.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING

from segue_runtime.store.owners.records import (
    AUDIO_S,
    KEPT_DAYS,
    RENDERED_S,
    REQUESTS,
    SENT_BYTES,
    STORED_BYTES,
    UsagePage,
    day_number,
    day_usage,
    number_of,
)

if TYPE_CHECKING:
    import datetime as dt
    import sqlite3
    from collections.abc import Mapping

    from segue_runtime.accounting.traffic import Traffic
    from segue_runtime.store.owners.records import Delivered, UsagePlace
    from segue_runtime.store.threads import Transaction

OF_ALL = """
SELECT * FROM usage WHERE day >= ?1 AND day <= ?2 AND (day, owner) > (?3, ?4) ORDER BY day, owner
"""
OF_OWNER = """
WITH RECURSIVE days (number) AS (SELECT ?1 UNION ALL SELECT number + 1 FROM days WHERE number < ?2)
SELECT usage.* FROM days CROSS JOIN usage ON usage.day = days.number AND usage.owner = ?5
WHERE (usage.day, usage.owner) > (?3, ?4)
"""


def add(tx: Transaction, owner: str, item: str, amount: float) -> None:
    """Add an amount to today's usage of an owner."""
    if amount > 0:
        tx.cx.execute(
            "INSERT INTO usage VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
            (day_number(tx.now), owner, item, amount),
        )


def add_delivered(tx: Transaction, name: str, owner: str, delivered: Delivered) -> None:
    """Count what a job that ends now leaves behind."""
    add(tx, owner, AUDIO_S, delivered.audio_s)
    add(tx, owner, STORED_BYTES, delivered.stored_bytes)
    tx.cx.execute("UPDATE jobs SET stored_bytes = ? WHERE name = ?", (delivered.stored_bytes, name))


def add_traffic(tx: Transaction, traffic: Mapping[str, Traffic]) -> None:
    """Count requests and sent bytes, and forget what is too old."""
    for owner, each in traffic.items():
        add(tx, owner, REQUESTS, each.requests)
        add(tx, owner, SENT_BYTES, each.sent_bytes)
    tx.cx.execute("DELETE FROM usage WHERE day <= ?", (day_number(tx.now) - KEPT_DAYS,))


def end_sections(tx: Transaction, job: int, owner: str, lease_until: float | None) -> None:
    """Take the sections of a claim out of the line, and count their leases up to the end of the claim's own lease."""
    for row in tx.cx.execute("DELETE FROM sections WHERE job = ? RETURNING model, leased_at", (job,)).fetchall():
        add_lease(tx, owner, row, lease_until)


def add_lease(tx: Transaction, owner: str, section: sqlite3.Row, lease_until: float | None) -> None:
    """Count the time of a section's lease that ends now. It has ended with the lease of its claim at the latest."""
    leased_at: float | None = section["leased_at"]
    if leased_at is None:
        return
    # A lease from before the machine's last start has times of another clock.
    now = None if leased_at > tx.steady_now else tx.steady_now
    until = min((each for each in (now, lease_until) if each is not None), default=leased_at)
    add(tx, owner, RENDERED_S + section["model"], until - leased_at)


def usage(
    cx: sqlite3.Connection,
    owner: str | None,
    first_day: dt.date,
    last_day: dt.date,
    limit: int,
    after: UsagePlace | None,
) -> UsagePage:
    """Return the usage of one owner, or of all, by day."""
    place = (-1, "") if after is None else (number_of(after[0]), after[1])
    values = (number_of(first_day), number_of(last_day), *place)
    query = cx.execute(OF_ALL, values) if owner is None else cx.execute(OF_OWNER, (*values, owner))
    with contextlib.closing(query) as rows:
        by_day = itertools.groupby(rows, key=lambda row: (row["day"], row["owner"]))
        found = [
            day_usage(number, each, {row["item"]: row["amount"] for row in group})
            for (number, each), group in itertools.islice(by_day, limit + 1)
        ]
    return UsagePage(found[:limit], found[limit - 1].place if len(found) > limit else None)


def audio_seconds(cx: sqlite3.Connection, owner: str, now: float) -> float:
    """Return today's seconds of audio of an owner."""
    query = "SELECT amount FROM usage WHERE day = ? AND owner = ? AND item = ?"
    row = cx.execute(query, (day_number(now), owner, AUDIO_S)).fetchone()
    return 0.0 if row is None else float(row[0])


def stored_bytes(cx: sqlite3.Connection, owner: str) -> int:
    """Return the bytes of an owner's ended jobs and of the uploads."""
    query = (
        "SELECT coalesce((SELECT num_bytes FROM stored WHERE owner = ?1), 0) "
        "+ (SELECT coalesce(sum(offset), 0) FROM uploads WHERE owner = ?1 AND NOT discarded)"
    )
    (num_bytes,) = cx.execute(query, (owner,)).fetchone()
    return int(num_bytes)
