"""Reads the jobs of the list. Whoever pushes them is a stranger: every job may be malformed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, cast

MAX_JOB_BYTES: Final = 1 << 16
MAX_SEARCHED_BYTES: Final = 1 << 20
"""A longer job is not searched for its job_id."""
MAX_ID_BYTES: Final = 256
FIELDS: Final = frozenset({"job_id", "file_path", "url"})


@dataclass(frozen=True, slots=True)
class FileJob:
    """A job with the file to measure: exactly one of a path and a URL."""

    job_id: str
    file_path: str = ""
    url: str = ""


class JobRefused(Exception):  # noqa: N818 - as in the error tree
    """The job fails; its text is the result's error. Without a job_id nobody can be told."""

    def __init__(self, text: str, job_id: object = None) -> None:
        super().__init__(text)
        self.job_id = job_id


def read_job(payload: bytes) -> FileJob:
    """Read an entry of the list; JobRefused says what is wrong with it."""
    if len(payload) > MAX_SEARCHED_BYTES:
        raise JobRefused(_too_long(payload))
    try:
        found: Any = json.loads(payload)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        raise JobRefused("the job is not JSON") from None
    if not isinstance(found, dict):
        raise JobRefused("the job is not a JSON object")
    fields = {name: value for name, value in cast("dict[str, object]", found).items() if value is not None}
    job_id = fields.get("job_id")
    if (problem := _problem_of_id(job_id)) is not None:
        raise JobRefused(problem, _echoed(job_id))
    if len(payload) > MAX_JOB_BYTES:
        raise JobRefused(_too_long(payload), job_id)
    if unknown := sorted(fields.keys() - FIELDS):
        raise JobRefused(f"{ascii(unknown[0])[:80]}: no such field; a job has job_id and file_path or url", job_id)
    named = fields.keys() & {"file_path", "url"}
    if len(named) != 1:
        raise JobRefused("a job has exactly one of file_path and url", job_id)
    (name,) = named
    place = fields[name]
    if not isinstance(place, str) or not place:
        raise JobRefused(f"{name}: it is not a text", job_id)
    return FileJob(**{"job_id": cast("str", job_id), name: place})


def _problem_of_id(job_id: object) -> str | None:
    if job_id is None:
        return "job_id: it is missing"
    if not isinstance(job_id, str):
        return "job_id: it is not a text"
    if not job_id or not job_id.isprintable() or len(job_id.encode("utf-8", "replace")) > MAX_ID_BYTES:
        return f"job_id: it must have 1 to {MAX_ID_BYTES} bytes, all printable"
    return None


def _echoed(job_id: object) -> object:
    """Return a wrong job_id if the result can repeat it, so that its sender recognises it; else None."""
    if isinstance(job_id, int):
        return job_id
    return job_id if isinstance(job_id, str) and len(job_id) <= MAX_ID_BYTES else None


def _too_long(payload: bytes) -> str:
    return f"the job has {len(payload)} bytes; at most {MAX_JOB_BYTES} are read"
