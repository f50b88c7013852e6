"""The tables of the queue; segue_runtime.store.schema creates and migrates them."""

from __future__ import annotations

from typing import Final

# The waiting jobs are counted for each priority and owner in buckets of 64, 64² … consecutive ids; those with a
# cancel reason are counted together, in no priority and under no owner. Triggers count, so that no change can miss it.
STEPS: Final = (6, 12, 18, 24, 30)
_BUCKETS = f"(VALUES {', '.join(f'({step})' for step in STEPS)})"
_COUNTED = (
    "{row}.cancel_reason IS NOT NULL, column1, iif({row}.cancel_reason IS NULL, {row}.priority, 0), "
    "iif({row}.cancel_reason IS NULL, {row}.owner, ''), {row}.id >> column1"
)
_JOIN = f"""
    INSERT INTO queue_counts SELECT {_COUNTED.format(row="new")}, 1 FROM {_BUCKETS} WHERE true
    ON CONFLICT DO UPDATE SET num = num + 1;
    INSERT INTO queue_depths VALUES (new.kind, 1) ON CONFLICT DO UPDATE SET num = num + 1;
"""  # noqa: S608 - constants
_LEAVE = f"""
    INSERT INTO queue_counts SELECT {_COUNTED.format(row="old")}, 0 FROM {_BUCKETS} WHERE true
    ON CONFLICT DO UPDATE SET num = num - 1;
    UPDATE queue_depths SET num = num - 1 WHERE kind = old.kind;
"""  # noqa: S608 - constants
QUEUE_TABLES: Final = f"""
CREATE INDEX jobs_waiting ON jobs (priority, owner, id, kind)
    WHERE finished IS NULL AND claimed_by IS NULL AND cancel_reason IS NULL;
CREATE INDEX jobs_ending ON jobs (id, kind)
    WHERE finished IS NULL AND claimed_by IS NULL AND cancel_reason IS NOT NULL;
CREATE INDEX jobs_held ON jobs (kind, id) WHERE finished IS NULL AND claimed_by IS NOT NULL;
CREATE INDEX jobs_running ON jobs (owner)
    WHERE finished IS NULL AND claimed_by IS NOT NULL AND cancel_reason IS NULL;
CREATE INDEX jobs_listed ON jobs (owner, id);
CREATE TABLE queue_counts (
    is_ending INTEGER NOT NULL,
    step INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    owner TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    num INTEGER NOT NULL,
    PRIMARY KEY (is_ending, step, priority, owner, bucket)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER queue_emptied AFTER UPDATE ON queue_counts WHEN new.num = 0
BEGIN
    DELETE FROM queue_counts WHERE is_ending = new.is_ending AND step = new.step AND priority = new.priority
    AND owner = new.owner AND bucket = new.bucket;
END;
CREATE TABLE queue_depths (kind TEXT PRIMARY KEY, num INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TRIGGER queue_entered AFTER INSERT ON jobs
WHEN new.finished IS NULL AND new.claimed_by IS NULL
BEGIN{_JOIN}END;
CREATE TRIGGER queue_joined AFTER UPDATE OF finished, claimed_by, cancel_reason ON jobs
WHEN new.finished IS NULL AND new.claimed_by IS NULL
BEGIN{_JOIN}END;
CREATE TRIGGER queue_left AFTER UPDATE OF finished, claimed_by, cancel_reason ON jobs
WHEN old.finished IS NULL AND old.claimed_by IS NULL
BEGIN{_LEAVE}END;
CREATE TRIGGER queue_deleted AFTER DELETE ON jobs
WHEN old.finished IS NULL AND old.claimed_by IS NULL
BEGIN{_LEAVE}END;
CREATE TABLE queue_owners (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL UNIQUE,
    weight INTEGER NOT NULL DEFAULT 1,
    running INTEGER,
    asked_ms INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TRIGGER audio_asked AFTER INSERT ON jobs WHEN new.audio_ms != 0 AND new.finished IS NULL
BEGIN
    UPDATE queue_owners SET asked_ms = asked_ms + new.audio_ms WHERE owner = new.owner;
END;
CREATE TRIGGER audio_ended AFTER UPDATE OF finished ON jobs
WHEN new.audio_ms != 0 AND old.finished IS NULL AND new.finished IS NOT NULL
BEGIN
    UPDATE queue_owners SET asked_ms = asked_ms - new.audio_ms WHERE owner = new.owner;
END;
CREATE TRIGGER audio_deleted AFTER DELETE ON jobs WHEN old.audio_ms != 0 AND old.finished IS NULL
BEGIN
    UPDATE queue_owners SET asked_ms = asked_ms - old.audio_ms WHERE owner = old.owner;
END;
CREATE TABLE turns (
    priority INTEGER NOT NULL,
    owner TEXT NOT NULL,
    served INTEGER NOT NULL,
    PRIMARY KEY (priority, owner)
) STRICT, WITHOUT ROWID;
CREATE TABLE priorities (priority INTEGER PRIMARY KEY, present INTEGER NOT NULL) STRICT;
"""  # noqa: S608 - constants
COUNT_WAITING: Final = f"""
INSERT INTO queue_counts SELECT {_COUNTED.format(row="jobs")}, count(*) FROM jobs, {_BUCKETS}
WHERE finished IS NULL AND claimed_by IS NULL GROUP BY 1, 2, 3, 4, 5;
INSERT INTO queue_depths SELECT kind, count(*) FROM jobs WHERE finished IS NULL AND claimed_by IS NULL GROUP BY kind;
INSERT INTO queue_owners (owner) SELECT owner FROM jobs GROUP BY owner ORDER BY min(id);
"""  # noqa: S608 - constants
"""Counts the jobs that wait already; those that come and go are counted by the triggers."""
DROP_OLDER_QUEUE: Final = """
DROP TRIGGER IF EXISTS queue_emptied;
DROP TRIGGER IF EXISTS queue_entered;
DROP TRIGGER IF EXISTS queue_joined;
DROP TRIGGER IF EXISTS queue_left;
DROP TRIGGER IF EXISTS queue_deleted;
DROP INDEX IF EXISTS jobs_waiting;
DROP INDEX IF EXISTS jobs_ending;
DROP INDEX IF EXISTS jobs_held;
DROP INDEX IF EXISTS jobs_listed;
DROP TABLE IF EXISTS queue_counts;
DROP TABLE IF EXISTS queue_depths;
DROP TABLE turns;
"""
