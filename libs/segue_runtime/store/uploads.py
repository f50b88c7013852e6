"""Uploads in SQL: functions that run inside a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from segue_runtime.errors import ArtifactNotFound, NotFinished, OffsetOutOfRange, QuotaExceeded, UploadFinished
from segue_runtime.store.owners import usage
from segue_runtime.store.owners.records import STORED_BYTES
from segue_runtime.store.queue import limits
from segue_runtime.store.records import UNFINISHED_UPLOAD_S, Upload, UploadPage, UploadPart
from segue_runtime.tenants import quota_exceeded

if TYPE_CHECKING:
    import sqlite3

    from segue_runtime.store.threads import Transaction

MAX_PARTS: Final = 16_384
"""The most writes to one upload. Writes of 64 KiB always suffice."""
JOB_OF = """
SELECT name FROM jobs WHERE upload = uploads.name AND finished IS NULL
UNION ALL SELECT name FROM jobs WHERE second_upload = uploads.name AND finished IS NULL
"""
EXPIRED = f"""
SELECT * FROM uploads
WHERE (discarded OR created <= ?1 OR (finished = 0 AND written <= ?2)) AND NOT EXISTS ({JOB_OF})
ORDER BY created LIMIT ?3
"""  # noqa: S608 - a constant


def upload_of(row: sqlite3.Row) -> Upload:
    """Make a record from a row."""
    values: dict[str, Any] = {key: row[key] for key in row.keys() if key not in {"id", "discarded"}}  # noqa: SIM118
    values["finished"] = bool(row["finished"])
    return Upload(**values)


def find_upload(cx: sqlite3.Connection, name: str) -> Upload | None:
    """Return the upload of a name, or None."""
    row = cx.execute("SELECT * FROM uploads WHERE name = ? AND NOT discarded", (name,)).fetchone()
    return None if row is None else upload_of(row)


def need_upload(cx: sqlite3.Connection, name: str) -> Upload:
    """Return an unfinished upload; raise when there is none."""
    upload = find_upload(cx, name)
    if upload is None:
        raise not_there(name)
    if upload.finished:
        raise UploadFinished(f"{name} is finished; create a new upload to send other bytes", metadata={"name": name})
    return upload


def not_there(name: str) -> ArtifactNotFound:
    """Return the error for an upload that does not exist."""
    return ArtifactNotFound(f"there is no upload {name}, or it is not yours", metadata={"name": name})


def check_usable(cx: sqlite3.Connection, name: str) -> None:
    """Raise unless the upload is finished, so that a job can use it."""
    upload = find_upload(cx, name)
    if upload is None or not upload.finished:
        raise not_there(name)


def create_upload(
    tx: Transaction, upload: Upload, quota_bytes: int, max_uploads: int, storage_bytes: int | None
) -> Upload:
    """Create an upload, if the quota allows its size beside the bytes that were received."""
    query = "SELECT count(*) FROM uploads WHERE owner = ? AND NOT discarded"
    check_quota(upload.owner, "uploads", tx.cx.execute(query, (upload.owner,)).fetchone()[0], 1, max_uploads)
    check_bytes(tx, upload.owner, upload.size or 0, quota_bytes, storage_bytes)
    tx.cx.execute(
        "INSERT INTO uploads (name, owner, media_type, offset, size, finished, created, written) "
        "VALUES (?, ?, ?, 0, ?, 0, ?, ?)",
        (upload.name, upload.owner, upload.media_type, upload.size, tx.now, tx.now),
    )
    return need_upload(tx.cx, upload.name)


def check_bytes(tx: Transaction, owner: str, more_bytes: int, quota_bytes: int, storage_bytes: int | None) -> None:
    """Raise QuotaExceeded when more bytes would exceed a limit. Bytes that were only announced do not count."""
    query = "SELECT coalesce(sum(offset), 0) FROM uploads WHERE owner = ? AND NOT discarded"
    check_quota(owner, "bytes", tx.cx.execute(query, (owner,)).fetchone()[0], more_bytes, quota_bytes)
    if storage_bytes is not None:
        limits.check_storage(owner, usage.stored_bytes(tx.cx, owner), more_bytes, storage_bytes)


def check_quota(owner: str, unit: str, used: int, more: int, limit: int) -> None:
    """Raise QuotaExceeded when more would exceed the limit."""
    if used + more > limit:
        raise too_much_uploaded(owner, unit, used, limit)


def too_much_uploaded(owner: str, unit: str, used: int, limit: int) -> QuotaExceeded:
    """Return the error for an owner whose uploads have reached their quota."""
    text = f"the quota for uploads is {limit} {unit}, {used} are used; delete some with DeleteUpload"
    return quota_exceeded(owner, unit, text, used, limit)


def page(cx: sqlite3.Connection, owner: str | None, limit: int, after: int | None) -> UploadPage:
    """List the uploads of an owner, or of all (None), newest first."""
    of_owner = "owner = :owner AND" if owner is not None else ""
    query = (
        f"SELECT * FROM uploads WHERE {of_owner} NOT discarded AND (:after IS NULL OR id < :after) "  # noqa: S608 - constant
        "ORDER BY id DESC LIMIT :limit"
    )
    rows = cx.execute(query, {"owner": owner, "after": after, "limit": limit + 1}).fetchall()
    return UploadPage([upload_of(row) for row in rows[:limit]], rows[limit - 1]["id"] if len(rows) > limit else None)


def advance_upload(tx: Transaction, name: str, part: UploadPart, quota_bytes: int, storage_bytes: int | None) -> Upload:
    """Record the next bytes, which are stored already."""
    upload = need_upload(tx.cx, name)
    end = part.offset + part.length
    if part.offset != upload.offset or (upload.size is not None and end > upload.size):
        raise OffsetOutOfRange(
            f"the next offset of {name} is {upload.offset}"
            + (f", its size {upload.size}" if upload.size is not None else ""),
            metadata={"size": str(upload.offset)},
        )
    check_bytes(tx, upload.owner, part.length, quota_bytes, storage_bytes)
    row_id, num_parts = tx.cx.execute(
        "SELECT id, (SELECT count(*) FROM upload_parts WHERE upload = id) FROM uploads WHERE name = ?", (name,)
    ).fetchone()
    if num_parts >= MAX_PARTS:
        raise QuotaExceeded(
            f"{name} was written in {num_parts} parts, the most allowed; send 64 KiB or more in each to a new upload",
            metadata={"limit": str(MAX_PARTS), "used": str(num_parts), "unit": "writes"},
        )
    tx.cx.execute("INSERT INTO upload_parts VALUES (?, ?, ?, ?)", (row_id, part.offset, part.length, part.key))
    usage.add(tx, upload.owner, STORED_BYTES, part.length)
    tx.cx.execute("UPDATE uploads SET offset = ?, written = ? WHERE id = ?", (end, tx.now, row_id))
    return need_upload(tx.cx, name)


def parts(cx: sqlite3.Connection, name: str, start: int, end: int | None) -> list[UploadPart]:
    """Return the parts with bytes of a range, in order."""
    query = (
        "SELECT offset, length, key FROM upload_parts WHERE upload = (SELECT id FROM uploads WHERE name = ?1) "
        "AND offset + length > ?2 AND (?3 IS NULL OR offset < ?3) ORDER BY offset"
    )
    return [UploadPart(*row) for row in cx.execute(query, (name, start, end))]


def finish_upload(tx: Transaction, name: str, digest: bytes) -> Upload:
    """Finish an upload; all announced bytes must be stored."""
    upload = need_upload(tx.cx, name)
    if upload.size is not None and upload.offset != upload.size:
        raise OffsetOutOfRange(
            f"{name} has {upload.offset} of {upload.size} bytes; send the rest first",
            metadata={"size": str(upload.offset)},
        )
    tx.cx.execute("DELETE FROM upload_parts WHERE upload = (SELECT id FROM uploads WHERE name = ?)", (name,))
    tx.cx.execute("UPDATE uploads SET finished = 1, digest = ?, size = offset WHERE name = ?", (digest, name))
    found = find_upload(tx.cx, name)
    return upload if found is None else found


def expired_uploads(cx: sqlite3.Connection, now: float, retention_s: float, limit: int) -> list[Upload]:
    """List the oldest uploads that can go."""
    rows = cx.execute(EXPIRED, (now - retention_s, now - UNFINISHED_UPLOAD_S, limit))
    return [upload_of(row) for row in rows]


def discard_upload(tx: Transaction, name: str) -> None:
    """Hide an upload whose bytes will be deleted."""
    row = tx.cx.execute(f"SELECT ({JOB_OF} LIMIT 1) FROM uploads WHERE name = ?", (name,)).fetchone()  # noqa: S608 - a constant
    if row is None:
        raise not_there(name)
    if row[0] is not None:
        raise NotFinished(
            f"{name} is needed by {row[0]}: wait until that has ended, or cancel it", metadata={"name": row[0]}
        )
    tx.cx.execute("UPDATE uploads SET discarded = 1 WHERE name = ?", (name,))


def delete_upload(tx: Transaction, name: str) -> None:
    """Delete the row of a discarded upload. Nothing happens when another process has done it."""
    tx.cx.execute("DELETE FROM uploads WHERE name = ? AND discarded", (name,))
