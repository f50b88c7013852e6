"""The records of a store: jobs, events and uploads. Payloads are opaque bytes.

Times are wall-clock seconds, except `lease_until` and `attached_until`. These are seconds of the machine's steady
clock, which all its processes share and nobody sets. It begins again when the machine starts: a time that lies further
ahead than `lease_s` or `attached_s` is from before that.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from segue_runtime.errors import CompositionNotFound, InternalError, JobNotFound
from segue_runtime.tenants import Priority

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue_runtime.errors import SegueError

STAMP_BITS: Final = 32


class Fenced(InternalError):  # noqa: N818 - as in the error tree
    """Another conductor has claimed the job: the writer must stop and write nothing more."""


class LogEnded(InternalError):  # noqa: N818 - as in the error tree
    """The log has its terminal event, and nothing can follow it."""


class TailLost(InternalError):  # noqa: N818 - as in the error tree
    """A row that a reader has seen is not in the log any more: the store lost the end of the log."""


def not_found(name: str) -> SegueError:
    """Return the error for a job that does not exist."""
    kind = CompositionNotFound if name.startswith("compositions/") else JobNotFound
    return kind(f"there is no {name}, or it is not yours, or it has expired", metadata={"name": name})


def new_stamp() -> int:
    """Draw the stamp of the rows of one append."""
    return secrets.randbits(STAMP_BITS) or 1


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append."""

    kind: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """A row of a log. `sequence` starts at 1 and has no gaps."""

    sequence: int
    time: float
    kind: str
    payload: bytes
    stamp: int = 0
    """A number that each append draws at random; 0 in rows of earlier releases.

    Two rows of equal sequence and stamp are one row: a store that lost the end of a log, because it was restored from a
    backup or from a replica, gives sequences and epochs a second time, but no stamp. As each append names the row that
    it follows, the rows before are the same too.
    """


@dataclass(frozen=True, slots=True)
class RowMark:
    """What tells a row of a log from all others; 0 before the first row."""

    sequence: int = 0
    stamp: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a job; `version` grows with each change."""

    version: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Share:
    """What an owner may have of the queue. `create` writes it, so that conductors need not know owners' limits."""

    weight: int = 1
    """How many jobs are served while an owner with the weight 1 gets one served, in the same priority."""
    running: int | None = None
    """How many jobs conductors may hold at once, without cancelled ones; None: any number."""
    queued: int | None = None
    """How many jobs may wait; None: any number."""
    audio_s_a_day: int | None = None
    """How many seconds of audio may be made in a day, in UTC; None: any number."""
    storage_bytes: int | None = None
    """With as many stored bytes no job is created; None: any number."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to create. It is created once for each owner and `request_id`; `spec_digest` detects another request."""

    name: str
    kind: str
    owner: str
    spec_digest: bytes
    spec: bytes
    resource: bytes
    state: str = "QUEUED"
    request_id: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    first_events: Sequence[NewEvent] = ()
    attached_s: float | None = None
    """The time for the owner's stream to open; None: the job does not depend on a stream."""
    call_id: str | None = None
    """The `x-request-id` of the call that creates it."""
    upload: str | None = None
    """The upload that the job needs until it ends."""
    second_upload: str | None = None
    """Another one that it needs until it ends."""
    priority: int = Priority.NORMAL
    share: Share = field(default_factory=Share)
    """What the owner may have of the queue from now on."""
    audio_ms: int = 0
    """How much audio it will make; it counts for the owner's day until the job ends."""
    models: Sequence[str] | None = None
    """The names of models that may play it, or patterns of them; None: all."""


@dataclass(frozen=True, slots=True)
class Job:
    """The current state of a job."""

    name: str
    kind: str
    owner: str
    request_id: str | None
    labels: Mapping[str, str]
    spec: bytes
    resource: bytes
    state: str
    epoch: int
    claims: int
    claimed_by: str | None
    lease_until: float | None
    cancel_reason: str | None
    attached_until: float | None
    checkpoint: bytes | None
    last_sequence: int
    last_stamp: int
    created: float
    started: float | None
    finished: float | None
    expires: float | None
    lease_s: float | None
    attached_s: float | None
    call_id: str | None
    alone: bool
    """Whether the process of the present claim works on nothing else, and has made no progress."""
    lone_losses: int
    """How many such claims have lost their conductor since the last progress."""
    worked_s: float
    """How long conductors have worked on it, up to the last renewal of its lease."""
    upload: str | None
    second_upload: str | None = None
    stored_bytes: int = 0
    """The size of its artifacts; known from its end on."""
    priority: int = Priority.NORMAL
    audio_ms: int = 0
    models: Sequence[str] | None = None
    is_taken_over: bool = False
    """Whether this claim followed one whose lease had expired; known to the claim only."""

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a conductor."""
        return self.finished is None and self.claimed_by is None

    @property
    def last_row(self) -> RowMark:
        """The newest row of its log."""
        return RowMark(self.last_sequence, self.last_stamp)

    @property
    def is_finished(self) -> bool:
        """Whether its log has its terminal event."""
        return self.finished is not None


@dataclass(frozen=True, slots=True)
class Created:
    """The result of `create`: `is_new` is False when the same request came before."""

    job: Job
    is_new: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, newest first; `after` continues the list, and is None at the end."""

    jobs: Sequence[Job]
    after: int | None


@dataclass(frozen=True, slots=True)
class Renewal:
    """The result of renewing a lease."""

    cancel_reason: str | None
    is_abandoned: bool
    """Whether the job depends on a stream of its owner and none is open."""

    @property
    def cancel_requested(self) -> bool:
        """Whether cancellation was requested."""
        return self.cancel_reason is not None


UNFINISHED_UPLOAD_S: Final = 3600.0
"""The silence after which an unfinished upload expires."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that a caller sends in pieces; `offset` counts the stored bytes."""

    name: str
    owner: str
    media_type: str
    offset: int = 0
    size: int | None = None
    digest: bytes | None = None
    finished: bool = False
    created: float = 0
    written: float = 0
    """The time of the last bytes."""

    def expires(self, retention_s: float) -> float:
        """Return the time at which it will be deleted."""
        kept_until = self.created + retention_s
        return kept_until if self.finished else min(kept_until, self.written + UNFINISHED_UPLOAD_S)


@dataclass(frozen=True, slots=True)
class UploadPart:
    """The bytes of one write to an upload, and the key of the artifact that has them."""

    offset: int
    length: int
    key: str


@dataclass(frozen=True, slots=True)
class UploadPage:
    """Some uploads, newest first; `after` continues the list, and is None at the end."""

    uploads: Sequence[Upload]
    after: int | None


@dataclass(frozen=True, slots=True)
class Depth:
    """The number of waiting and running jobs of a kind."""

    waiting: int
    running: int
