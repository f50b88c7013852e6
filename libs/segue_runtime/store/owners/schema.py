"""The tables of owners' usage; segue_runtime.store.schema creates and migrates them.

Triggers keep the stored bytes of each owner, so that no change of a job can miss them.
"""

from typing import Final

USAGE_TABLES: Final = """
CREATE TABLE usage (
    day INTEGER NOT NULL,
    owner TEXT NOT NULL,
    item TEXT NOT NULL,
    amount REAL NOT NULL,
    PRIMARY KEY (day, owner, item)
) STRICT, WITHOUT ROWID;
CREATE TABLE stored (owner TEXT PRIMARY KEY, num_bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TRIGGER stored_added AFTER UPDATE OF stored_bytes ON jobs WHEN new.stored_bytes != old.stored_bytes
BEGIN
    INSERT INTO stored VALUES (new.owner, new.stored_bytes - old.stored_bytes)
    ON CONFLICT DO UPDATE SET num_bytes = num_bytes + excluded.num_bytes;
END;
CREATE TRIGGER stored_deleted AFTER DELETE ON jobs WHEN old.stored_bytes != 0
BEGIN
    UPDATE stored SET num_bytes = num_bytes - old.stored_bytes WHERE owner = old.owner;
END;
CREATE TRIGGER stored_emptied AFTER UPDATE ON stored WHEN new.num_bytes = 0
BEGIN
    DELETE FROM stored WHERE owner = new.owner;
END;
"""
