"""The tables of the renderer pool; segue_runtime.store.schema creates and migrates them."""

from typing import Final

SECTION_TABLE: Final = """
CREATE TABLE sections (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    epoch INTEGER NOT NULL,
    section_id TEXT NOT NULL,
    model TEXT NOT NULL,
    model_digest TEXT NOT NULL,
    engine_version TEXT NOT NULL,
    due REAL NOT NULL,
    audio_s REAL NOT NULL,
    excluded TEXT NOT NULL,
    lease TEXT,
    renderer TEXT,
    was_warm INTEGER,
    leased_at REAL
) STRICT;
CREATE INDEX sections_of_job ON sections (job);
"""
POOL_TABLES: Final = f"""
CREATE TABLE renderers (
    id TEXT PRIMARY KEY,
    address TEXT NOT NULL,
    server_name TEXT NOT NULL,
    accepts INTEGER NOT NULL,
    slots INTEGER NOT NULL,
    joined INTEGER NOT NULL,
    stream TEXT NOT NULL,
    models TEXT NOT NULL,
    status BLOB NOT NULL,
    seen_until REAL NOT NULL,
    num_losses INTEGER NOT NULL DEFAULT 0,
    rests_until REAL NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE models (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    model_digest TEXT NOT NULL,
    engine_version TEXT NOT NULL,
    profile BLOB NOT NULL,
    seen REAL NOT NULL,
    UNIQUE (model, model_digest, engine_version)
) STRICT;
CREATE TABLE speeds (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    model_digest TEXT NOT NULL,
    engine_version TEXT NOT NULL,
    renderer TEXT NOT NULL,
    speed REAL NOT NULL
) STRICT;
CREATE TABLE costs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stage TEXT NOT NULL,
    cost REAL NOT NULL
) STRICT;
{SECTION_TABLE}"""
LINE_TABLES: Final = """
CREATE TABLE line_turns (owner TEXT PRIMARY KEY, turn INTEGER NOT NULL, served INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""
