"""Uploads in SQL: functions that run inside a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segue_runtime.errors import ArtifactNotFound, OffsetOutOfRange, QuotaExceeded, UploadFinished
from segue_runtime.store.records import UNFINISHED_UPLOAD_S, Upload

if TYPE_CHECKING:
    import sqlite3

    from segue_runtime.store.threads import Transaction


def find_upload(cx: sqlite3.Connection, name: str) -> Upload | None:
    """Return the upload of a name, or None."""
    row = cx.execute("SELECT * FROM uploads WHERE name = ?", (name,)).fetchone()
    if row is None:
        return None
    values: dict[str, Any] = dict(zip(row.keys(), row, strict=True))
    values["finished"] = bool(row["finished"])
    return Upload(**values)


def need_upload(cx: sqlite3.Connection, name: str) -> Upload:
    """Return an unfinished upload; raise when there is none."""
    upload = find_upload(cx, name)
    if upload is None:
        raise ArtifactNotFound(f"there is no upload {name}, or it is not yours", metadata={"name": name})
    if upload.finished:
        raise UploadFinished(f"{name} is finished; create a new upload to send other bytes", metadata={"name": name})
    return upload


def create_upload(tx: Transaction, upload: Upload, quota_bytes: int) -> Upload:
    """Create an upload, if the quota allows its size beside the bytes that were received."""
    check_quota(tx, upload.owner, upload.size or 0, quota_bytes)
    tx.cx.execute(
        "INSERT INTO uploads VALUES (?, ?, ?, 0, ?, NULL, 0, ?, ?)",
        (upload.name, upload.owner, upload.media_type, upload.size, tx.now, tx.now),
    )
    return need_upload(tx.cx, upload.name)


def check_quota(tx: Transaction, owner: str, more_bytes: int, quota_bytes: int) -> None:
    """Raise QuotaExceeded when more bytes would exceed the quota. Bytes that were only announced do not count."""
    query = "SELECT coalesce(sum(offset), 0) FROM uploads WHERE owner = ?"
    used = tx.cx.execute(query, (owner,)).fetchone()[0]
    if used + more_bytes > quota_bytes:
        raise QuotaExceeded(
            f"the quota for uploads is {quota_bytes} bytes, {used} are used; wait until some uploads expire",
            metadata={"limit": str(quota_bytes), "used": str(used)},
        )


def advance_upload(tx: Transaction, name: str, offset: int, length: int, quota_bytes: int) -> Upload:
    """Record that the next bytes are stored."""
    upload = need_upload(tx.cx, name)
    end = offset + length
    if offset != upload.offset or (upload.size is not None and end > upload.size):
        raise OffsetOutOfRange(
            f"the next offset of {name} is {upload.offset}"
            + (f", its size {upload.size}" if upload.size is not None else ""),
            metadata={"size": str(upload.offset)},
        )
    check_quota(tx, upload.owner, length, quota_bytes)
    tx.cx.execute("UPDATE uploads SET offset = ?, written = ? WHERE name = ?", (end, tx.now, name))
    return need_upload(tx.cx, name)


def finish_upload(tx: Transaction, name: str, digest: bytes) -> Upload:
    """Finish an upload; all announced bytes must be stored."""
    upload = need_upload(tx.cx, name)
    if upload.size is not None and upload.offset != upload.size:
        raise OffsetOutOfRange(
            f"{name} has {upload.offset} of {upload.size} bytes; send the rest first",
            metadata={"size": str(upload.offset)},
        )
    tx.cx.execute("UPDATE uploads SET finished = 1, digest = ?, size = offset WHERE name = ?", (digest, name))
    found = find_upload(tx.cx, name)
    return upload if found is None else found


def expired_uploads(cx: sqlite3.Connection, now: float, retention_s: float, limit: int) -> list[Upload]:
    """List the oldest uploads past their retention time, and unfinished ones that receive no bytes any more."""
    query = "SELECT name FROM uploads WHERE created <= ? OR (finished = 0 AND written <= ?) ORDER BY created LIMIT ?"
    rows = cx.execute(query, (now - retention_s, now - UNFINISHED_UPLOAD_S, limit)).fetchall()
    found = [find_upload(cx, row["name"]) for row in rows]
    return [upload for upload in found if upload is not None]


def delete_upload(tx: Transaction, name: str) -> None:
    """Delete the row of an upload."""
    if tx.cx.execute("DELETE FROM uploads WHERE name = ?", (name,)).rowcount == 0:
        raise ArtifactNotFound(f"there is no upload {name}, or it is not yours", metadata={"name": name})
