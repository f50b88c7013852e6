"""What a store keeps and gives back: jobs, events and uploads as they stand. Payloads are opaque bytes to it.

Times are wall-clock seconds, so that processes on one machine agree on leases.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from segue_runtime.errors import CompositionNotFound, InternalError, JobNotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue_runtime.errors import SegueError


class Fenced(InternalError):  # noqa: N818 - as in the error tree
    """The writer's epoch is not the job's: somebody else has claimed it. Stop working; write nothing more."""


class LogEnded(InternalError):  # noqa: N818 - as in the error tree
    """The log has its terminal event; nothing can follow it."""


def not_found(name: str) -> SegueError:
    """Return the error for a job that is not there."""
    kind = CompositionNotFound if name.startswith("compositions/") else JobNotFound
    return kind(f"there is no {name}, or it is not yours, or it has expired", metadata={"name": name})


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


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the work is; `version` grows each time it is said."""

    version: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to create. `request_id` makes it idempotent per owner; `spec_digest` tells another one."""

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
    attached_until: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands."""

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
    created: float
    started: float | None
    finished: float | None
    expires: float | None

    @property
    def is_waiting(self) -> bool:
        """Whether no conductor has it."""
        return self.finished is None and self.claimed_by is None

    @property
    def is_finished(self) -> bool:
        """Whether its log has its terminal event."""
        return self.finished is not None


@dataclass(frozen=True, slots=True)
class Created:
    """What create did: `is_new` is false when the same request was made before."""

    job: Job
    is_new: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, newest first; `after` continues, None at the end."""

    jobs: Sequence[Job]
    after: int | None


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a conductor learns by its heartbeat."""

    cancel_reason: str | None
    attached_until: float | None

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody wants it cancelled."""
        return self.cancel_reason is not None


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that a caller sends piece by piece; `offset` is how much is there."""

    name: str
    owner: str
    media_type: str
    offset: int = 0
    size: int | None = None
    digest: bytes | None = None
    finished: bool = False
    created: float = 0


@dataclass(frozen=True, slots=True)
class Depth:
    """How many jobs of a kind wait and run."""

    waiting: int
    running: int
