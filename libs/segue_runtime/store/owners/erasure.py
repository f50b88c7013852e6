"""The end of an owner in the embedded store: its rows, and what is left of deleted rows in the file."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING, Final

from segue_runtime.errors import NotFinished, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from segue_runtime.errors import SegueError
    from segue_runtime.store.threads import Transaction

TABLES: Final = ("usage", "stored", "turns", "line_turns", "queue_owners", "requests")
"""The tables that name an owner, beside those of jobs and uploads, whose rows go first, and what triggers count."""
BUSY_S: Final = 30.0
PURGE_S: Final = 120.0
PAUSE_S: Final = 0.1


def not_erased(owner: str, name: str) -> SegueError:
    """Return the error for an owner that still has jobs or uploads."""
    return NotFinished(f"{owner} has new work: withdraw its credentials, and try again", metadata={"name": name})


def discarded_uploads(cx: sqlite3.Connection, owner: str) -> list[str]:
    """Return the uploads of an owner that are hidden, and whose bytes may be there still."""
    query = "SELECT name FROM uploads WHERE owner = ? AND discarded"
    return [row["name"] for row in cx.execute(query, (owner,))]


def erase(tx: Transaction, owner: str) -> int:
    """Delete what the store has for an owner without jobs and uploads; return the days of usage that it had."""
    query = "SELECT name FROM jobs WHERE owner = ?1 UNION ALL SELECT name FROM uploads WHERE owner = ?1 LIMIT 1"
    left = tx.cx.execute(query, (owner,)).fetchone()
    if left is not None:
        raise not_erased(owner, left["name"])
    (num_days,) = tx.cx.execute("SELECT count(DISTINCT day) FROM usage WHERE owner = ?", (owner,)).fetchone()
    for table in TABLES:
        tx.cx.execute(f"DELETE FROM {table} WHERE owner = ?", (owner,))  # noqa: S608 - a constant
    return int(num_days)


def purge(path: Path) -> None:
    """Write the file anew, so that nothing of deleted rows is left in it or beside it. Others may use it meanwhile."""
    end = time.monotonic() + PURGE_S
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)) as cx:
        cx.execute("PRAGMA secure_delete = ON")
        while True:
            with contextlib.suppress(sqlite3.OperationalError):  # it is busy
                cx.execute("VACUUM")
                # Readers of the log before this moment hold it up.
                if cx.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0:
                    return
            if time.monotonic() > end:
                raise StoreUnavailable(f"{path} is in use: deleted rows can still be read in its file; try again")
            time.sleep(PAUSE_S)
