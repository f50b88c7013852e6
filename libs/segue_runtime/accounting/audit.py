"""The audit log: one line for each change of what owners have. It names things, and never contains what is in them.

Without a file of its own, its lines are in the log, with `"part": "audit"` and the level info.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_runtime import logs, scope
from segue_runtime.errors import SegueError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALLER: Final = "caller"
RETENTION: Final = "retention"
"""It was kept for its time."""
DISCONNECT: Final = "disconnect"
"""The caller left, and had asked for this then."""
OPERATOR: Final = "operator"
"""A command on the machine of the service."""
OK: Final = "OK"
OWNER_ONLY: Final = 0o600
log = logs.get("audit")
_failures = logs.BoundedLog(log)
_file: Path | None = None


@dataclass(slots=True)
class Change:
    """A change that a call makes."""

    name: str = ""
    """What is changed."""
    of: str = ""
    """Its owner."""
    made: str = ""
    """What it makes, if that has another name."""


def open_file(path: Path | None) -> None:
    """Write the lines of this process into a file of their own; OSError if that is impossible."""
    global _file  # noqa: PLW0603 - one log for a process, as the others are
    _file = path
    if path is not None:
        _append(path, "")


@contextlib.contextmanager
def change(action: str, name: str = "", *, only_refusals: bool = False) -> Iterator[Change]:
    """Write the line of a change that the body makes, with its result: OK, or the reason of its error."""
    found = Change(name)
    result = "CANCELLED"
    try:
        yield found
        result = OK
    except SegueError as error:
        result = error.reason
        raise
    except Exception:
        result = "INTERNAL"
        raise
    finally:
        if result != OK or not only_refusals:
            record(action, found, result=result)


def record(action: str, changed: Change, *, by: str = CALLER, result: str = OK, method: str = "") -> None:
    """Write a line. `owner` is the caller's; without a call, that of what is changed."""
    here = scope.current()
    is_call = by == CALLER and here is not None
    owner, peer = (here.owner or changed.of, here.peer) if is_call and here else (changed.of, "")
    fields = {
        "by": by,
        "owner": owner,
        "of": changed.of if changed.of != owner else "",
        "peer": peer,
        "name": changed.name,
        "made": changed.made,
        "method": method,
        "result": result,
    }
    fields = {key: value for key, value in fields.items() if value}
    if _file is not None:
        request_id = {"request_id": here.request_id} if here else {}
        time = dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")
        line = {"part": "audit", **fields, **request_id, "event": action, "timestamp": time}
        try:
            _append(_file, json.dumps(line) + "\n")
        except OSError as error:
            _failures.warning("the audit file cannot be written; its lines are in the log", error=error.strerror)
        else:
            return
    log.info(action, **fields)


def _append(path: Path, text: str) -> None:
    """Append to the file of this name at the moment, which another program may have renamed to rotate it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, OWNER_ONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
