"""The tables of the embedded store, their migrations, and how a connection is opened."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import time
from importlib import metadata
from typing import TYPE_CHECKING

from segue_runtime import logs
from segue_runtime.errors import StoreUnavailable
from segue_runtime.store.owners.schema import USAGE_TABLES
from segue_runtime.store.pool.schema import LINE_TABLES, POOL_TABLES, SECTION_TABLE
from segue_runtime.store.queue.schema import COUNT_WAITING, DROP_OLDER_QUEUE, QUEUE_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logs.get("store")
# SQLite keeps this number as the file's `user_version`; each change of TABLES raises it and adds a migration.
VERSION = 8
BUSY_S = 5.0
CHECK_S = 5.0
"""The time for the check of the file at the start; what a large file has not been checked for then is not."""
STEPS_BETWEEN = 10_000
RESTORE = "stop every process that uses it and restore a backup, or move the file away to start with an empty store"
PAGES_AT_ONCE = 1024
INCREMENTAL = 2
"""The value of `PRAGMA auto_vacuum` of a file that can shrink."""
TOKEN_KEY_BYTES = 32
SECOND_UPLOAD_INDEX = """
CREATE INDEX jobs_of_second_upload ON jobs (second_upload) WHERE second_upload IS NOT NULL AND finished IS NULL;
"""
UPLOAD_TABLES = """
CREATE TABLE uploads (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    media_type TEXT NOT NULL,
    offset INTEGER NOT NULL,
    size INTEGER,
    digest BLOB,
    finished INTEGER NOT NULL,
    created REAL NOT NULL,
    written REAL NOT NULL,
    discarded INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX uploads_of_owner ON uploads (owner, id);
CREATE TABLE upload_parts (
    upload INTEGER NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    offset INTEGER NOT NULL,
    length INTEGER NOT NULL,
    key TEXT NOT NULL,
    PRIMARY KEY (upload, offset)
) STRICT, WITHOUT ROWID;
"""
TABLES = f"""
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    owner TEXT NOT NULL,
    request_id TEXT,
    labels TEXT NOT NULL,
    spec BLOB NOT NULL,
    resource BLOB NOT NULL,
    state TEXT NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 0,
    claims INTEGER NOT NULL DEFAULT 0,
    claimed_by TEXT,
    lease_until REAL,
    cancel_reason TEXT,
    attached_until REAL,
    checkpoint BLOB,
    last_sequence INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    expires REAL,
    lease_s REAL,
    attached_s REAL,
    call_id TEXT,
    alone INTEGER NOT NULL DEFAULT 0,
    lone_losses INTEGER NOT NULL DEFAULT 0,
    worked_s REAL NOT NULL DEFAULT 0,
    upload TEXT,
    last_stamp INTEGER NOT NULL DEFAULT 0,
    stored_bytes INTEGER NOT NULL DEFAULT 0,
    priority INTEGER NOT NULL DEFAULT 2,
    audio_ms INTEGER NOT NULL DEFAULT 0,
    models TEXT,
    second_upload TEXT
) STRICT;
CREATE INDEX jobs_expiring ON jobs (expires) WHERE expires IS NOT NULL;
CREATE INDEX jobs_of_upload ON jobs (upload) WHERE upload IS NOT NULL AND finished IS NULL;
{SECOND_UPLOAD_INDEX}
CREATE TABLE events (
    job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    time REAL NOT NULL,
    kind TEXT NOT NULL,
    payload BLOB NOT NULL,
    stamp INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE progress (
    job INTEGER PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE TABLE requests (
    owner TEXT NOT NULL,
    request_id TEXT NOT NULL,
    digest BLOB NOT NULL,
    job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    PRIMARY KEY (owner, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_of_job ON requests (job);
{UPLOAD_TABLES}
CREATE TABLE schema_release (release TEXT NOT NULL) STRICT;
CREATE TABLE token_key (key BLOB NOT NULL) STRICT;
{QUEUE_TABLES}{POOL_TABLES}{LINE_TABLES}{USAGE_TABLES}"""
# The statements that take a file from each version to the next one.
MIGRATIONS = {
    1: """
DROP TABLE takes;
ALTER TABLE jobs DROP COLUMN floor;
ALTER TABLE jobs DROP COLUMN time_limit_s;
CREATE TABLE schema_release (release TEXT NOT NULL) STRICT;
""",
    # Leases and attachments become times of the machine's steady clock: those of before are over, or bounded.
    2: """
ALTER TABLE jobs ADD COLUMN lease_s REAL;
ALTER TABLE jobs ADD COLUMN attached_s REAL;
UPDATE jobs SET attached_s = 15 WHERE attached_until IS NOT NULL;
ALTER TABLE uploads ADD COLUMN written REAL NOT NULL DEFAULT 0;
UPDATE uploads SET written = created;
""",
    # Jobs name the upload that they need. An unfinished upload starts again: its parts were not recorded.
    3: f"""
ALTER TABLE jobs ADD COLUMN call_id TEXT;
ALTER TABLE jobs ADD COLUMN alone INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN lone_losses INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN worked_s REAL NOT NULL DEFAULT 0;
DROP INDEX jobs_open;
CREATE TABLE token_key (key BLOB NOT NULL) STRICT;
ALTER TABLE jobs ADD COLUMN upload TEXT;
CREATE INDEX jobs_of_upload ON jobs (upload) WHERE upload IS NOT NULL AND finished IS NULL;
DROP INDEX uploads_of_owner;
ALTER TABLE uploads RENAME TO earlier_uploads;
{UPLOAD_TABLES}
INSERT INTO uploads (name, owner, media_type, offset, size, digest, finished, created, written)
SELECT name, owner, media_type, CASE WHEN finished THEN offset ELSE 0 END, size, digest, finished, created, written
FROM earlier_uploads ORDER BY created;
DROP TABLE earlier_uploads;
{POOL_TABLES}""",  # noqa: S608 - constants
    # The rows of before keep the stamp 0, which no cursor is compared with.
    4: """
ALTER TABLE jobs ADD COLUMN last_stamp INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN stamp INTEGER NOT NULL DEFAULT 0;
""",
    # The line starts empty: no conductor of before runs any more. What ended before has no stored bytes.
    5: f"""
DROP TABLE sections;
{SECTION_TABLE}
ALTER TABLE jobs ADD COLUMN stored_bytes INTEGER NOT NULL DEFAULT 0;
{USAGE_TABLES}""",
    # The queue gets priorities and weights. Turns begin again: all owners are equal now.
    6: f"""
ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 2;
ALTER TABLE jobs ADD COLUMN audio_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN models TEXT;
{DROP_OLDER_QUEUE}{QUEUE_TABLES}{COUNT_WAITING}
DROP TABLE IF EXISTS line_turns;
{LINE_TABLES}""",
    # A job may need two uploads: a melody and a sound to imitate.
    7: f"""
ALTER TABLE jobs ADD COLUMN second_upload TEXT;
{SECOND_UPLOAD_INDEX}""",
}


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the one writing connection; create or migrate the tables. A store of a newer release is refused."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    cx = _connect(path)
    try:
        _prepare(cx, path)
    except BaseException:
        cx.close()
        raise
    return cx


def _prepare(cx: sqlite3.Connection, path: Path) -> None:
    # Before any write: a newer file must stay as it is.
    _refuse_newer(cx, path)
    _refuse_damaged(cx, path)
    _hide_from_others(path)
    cx.execute("PRAGMA auto_vacuum = INCREMENTAL")  # has an effect on new files only
    cx.execute("PRAGMA journal_mode = WAL")
    # FULL: a power cut must not lose events whose cursors watchers already have.
    cx.execute("PRAGMA synchronous = FULL")
    cx.execute("PRAGMA foreign_keys = ON")
    cx.execute("BEGIN IMMEDIATE")
    try:
        _refuse_newer(cx, path)  # another process may have migrated it meanwhile
        _migrate(cx)
    except BaseException:
        cx.execute("ROLLBACK")
        raise
    cx.execute("COMMIT")


def _version(cx: sqlite3.Connection) -> int:
    version: int = cx.execute("PRAGMA user_version").fetchone()[0]
    return version


def _refuse_newer(cx: sqlite3.Connection, path: Path) -> None:
    version = _version(cx)
    if version <= VERSION:
        return
    try:
        release = cx.execute("SELECT release FROM schema_release").fetchone()[0]
    except (sqlite3.Error, TypeError):  # a later release may keep it elsewhere
        release = "a newer release"
    raise StoreUnavailable(
        f"{path} was written by Segue {release} (store version {version}); this is Segue {metadata.version('segue')}, "
        f"which reads store versions up to {VERSION}: run the newer release, or choose another home"
    )


def _hide_from_others(path: Path) -> None:
    """Let only the owner read the file. New files beside it get the same rights from SQLite."""
    for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        # Another user's file: whoever owns it decides.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            each.chmod(0o600)


def _refuse_damaged(cx: sqlite3.Connection, path: Path) -> None:
    """Check the structure of all pages, as far as that takes no longer than CHECK_S."""
    end = time.monotonic() + CHECK_S
    cx.set_progress_handler(lambda: time.monotonic() > end, STEPS_BETWEEN)
    try:
        found = str(cx.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname != "SQLITE_INTERRUPT":
            raise
        log.warning("the store is large and was not checked completely", path=str(path), checked_s=CHECK_S)
        return
    finally:
        cx.set_progress_handler(None, 0)
    if found != "ok":
        fault = " ".join(found.replace("*** in database main ***", "").split())
        raise StoreUnavailable(f"the store {path} is damaged ({fault}): {RESTORE}")


def _migrate(cx: sqlite3.Connection) -> None:
    version = _version(cx)
    if version == VERSION:
        return
    steps = [TABLES] if version == 0 else [MIGRATIONS[step] for step in range(version, VERSION)]
    for statement in _statements("".join(steps)):
        cx.execute(statement)
    key = secrets.token_bytes(TOKEN_KEY_BYTES)
    cx.execute("INSERT INTO token_key SELECT ? WHERE NOT EXISTS (SELECT 1 FROM token_key)", (key,))
    cx.execute("DELETE FROM schema_release")
    cx.execute("INSERT INTO schema_release VALUES (?)", (metadata.version("segue"),))
    cx.execute(f"PRAGMA user_version = {VERSION}")


def _statements(script: str) -> Iterator[str]:
    """Split a script; a trigger is one statement with semicolons inside."""
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def shrink(cx: sqlite3.Connection) -> bool:
    """Return some free pages of the file to the disk; return whether more are left."""
    # Each step of this statement frees one page: unread, it would free one only.
    cx.execute(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})").fetchall()
    num_free: int = cx.execute("PRAGMA freelist_count").fetchone()[0]
    return num_free > 0 and cx.execute("PRAGMA auto_vacuum").fetchone()[0] == INCREMENTAL


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that cannot write."""
    cx = _connect(path)
    cx.execute("PRAGMA query_only = ON")
    return cx


def _connect(path: Path) -> sqlite3.Connection:
    cx = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    cx.row_factory = sqlite3.Row
    return cx
