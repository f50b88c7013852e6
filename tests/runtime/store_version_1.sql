-- The tables of store version 1, as its release made them.
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
    floor INTEGER NOT NULL DEFAULT 0,
    time_limit_s REAL,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    expires REAL
) STRICT;
CREATE INDEX jobs_open ON jobs (claimed_by, owner, id) WHERE finished IS NULL;
CREATE INDEX jobs_listed ON jobs (owner, kind, id);
CREATE INDEX jobs_expiring ON jobs (expires) WHERE expires IS NOT NULL;
CREATE TABLE events (
    job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    time REAL NOT NULL,
    kind TEXT NOT NULL,
    payload BLOB NOT NULL,
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
CREATE TABLE turns (owner TEXT PRIMARY KEY, turn INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE takes (
    owner TEXT NOT NULL,
    take_key TEXT NOT NULL,
    layer TEXT NOT NULL,
    ref_key TEXT NOT NULL,
    ref_offset INTEGER NOT NULL,
    ref_length INTEGER NOT NULL,
    ref_sha256 BLOB NOT NULL,
    frames INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    PRIMARY KEY (owner, take_key, layer)
) STRICT, WITHOUT ROWID;
CREATE TABLE uploads (
    name TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    media_type TEXT NOT NULL,
    offset INTEGER NOT NULL,
    size INTEGER,
    digest BLOB,
    finished INTEGER NOT NULL,
    created REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX uploads_of_owner ON uploads (owner);
PRAGMA user_version = 1;
