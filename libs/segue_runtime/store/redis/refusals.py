"""The errors behind the reasons with which the Lua functions refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segue_runtime import errors
from segue_runtime.store.owners.erasure import not_erased
from segue_runtime.store.queue import limits
from segue_runtime.store.records import Fenced, LogEnded, TailLost, not_found
from segue_runtime.store.uploads import not_there, too_much_uploaded

if TYPE_CHECKING:
    from segue_runtime.errors import SegueError


def refusal(answer: list[Any]) -> SegueError:
    """Return the error for an answer that is not `ok`."""
    reason, *values = [each.decode() if isinstance(each, bytes) else str(each) for each in answer]
    for known in (_of_job, _of_owner, _of_log, _of_upload):
        error = known(reason, values)
        if error is not None:
            return error
    return _of_store(reason)


def _of_job(reason: str, values: list[str]) -> SegueError | None:
    match reason:
        case "NOT_FOUND":
            return not_found(values[0])
        case "NOT_FINISHED":
            name = values[0]
            return errors.NotFinished(f"{name} has not ended: cancel it first, then delete it", metadata={"name": name})
        case "QUEUE_FULL":
            return errors.QueueFull(f"the queue is full: {values[0]} jobs wait", metadata={"limit": values[1]})
        case "REQUEST_ID_REUSED":
            name, request_id = values
            return errors.RequestIdReused(
                f"request_id {request_id} was used for another request; send a new UUID", metadata={"name": name}
            )
        case _:
            return None


def _of_owner(reason: str, values: list[str]) -> SegueError | None:
    """Return the error for a limit of an owner."""
    match reason:
        case "NOT_ERASED":
            return not_erased(*values)
        case "TOO_MANY_QUEUED":
            return limits.too_many_queued(values[0], int(values[1]), int(values[2]))
        case "TOO_MUCH_AUDIO":
            owner, made_s, asked_ms, more_ms, limit, now = values
            return limits.too_much_audio(owner, float(made_s), int(asked_ms), int(more_ms), int(limit), float(now))
        case "STORAGE":
            return limits.too_much_stored(values[0], int(values[1]), int(values[2]))
        case _:
            return None


def _of_log(reason: str, values: list[str]) -> SegueError | None:  # noqa: PLR0911 - a table
    name = values[0] if values else ""
    match reason:
        case "FENCED":
            return Fenced(f"{name} is no longer held under epoch {values[1]}", metadata={"name": name})
        case "DIVERGED":
            return Fenced(
                f"the log of {name} ends with row {values[1]}; its writer knows another row {values[2]}",
                metadata={"name": name},
            )
        case "LEFT":
            return Fenced("the section is no longer in the line", metadata={"ticket": name})
        case "LOG_ENDED":
            return LogEnded(f"{name} has ended with event {values[1]}", metadata={"name": name})
        case "TAIL_LOST":
            return TailLost(f"the log of {name} has lost row {values[1]}", metadata={"name": name})
        case "CURSOR_AHEAD":
            return errors.CursorAhead(
                f"{name} has {values[1]} events; the cursor stands at {values[2]}",
                metadata={"lastSequence": values[1]},
            )
        case _:
            return None


def _of_upload(reason: str, values: list[str]) -> SegueError | None:  # noqa: PLR0911 - a table
    match reason:
        case "NO_UPLOAD":
            return not_there(values[0])
        case "UPLOAD_FINISHED":
            name = values[0]
            return errors.UploadFinished(
                f"{name} is finished; create a new upload to send other bytes", metadata={"name": name}
            )
        case "UPLOAD_NEEDED":
            name, job = values
            return errors.NotFinished(
                f"{name} is needed by {job}: wait until that has ended, or cancel it", metadata={"name": job}
            )
        case "OFFSET":
            name, offset, size = values
            more = f", its size {size}" if size else ""
            return errors.OffsetOutOfRange(f"the next offset of {name} is {offset}{more}", metadata={"size": offset})
        case "UNFINISHED":
            name, offset, size = values
            return errors.OffsetOutOfRange(
                f"{name} has {offset} of {size} bytes; send the rest first", metadata={"size": offset}
            )
        case "QUOTA":
            owner, unit, used, limit = values
            return too_much_uploaded(owner, unit, int(used), int(limit))
        case "PARTS":
            name, used, limit = values
            return errors.QuotaExceeded(
                f"{name} was written in {used} parts, the most allowed; send 64 KiB or more in each to a new upload",
                metadata={"limit": limit, "used": used, "unit": "writes"},
            )
        case _:
            return None


def _of_store(reason: str) -> SegueError:
    if reason == "EMPTIED":
        return errors.StoreUnavailable(
            "Redis does not have the data of this store: restore it, or restart every process to begin with an empty "
            "store",
            retry_after_s=1,
        )
    if reason == "NO_STORE":
        return errors.StoreUnavailable(
            "Redis has no store, but the artifact folder has files: restore the data of Redis, or delete the files"
        )
    return errors.InternalError(f"the store refused for an unknown reason: {reason}")
