"""The protocols of a store: jobs, their queue, their event logs, and uploads.

A job waits, is claimed by a conductor under an *epoch* (which fences every later write of an older one), and ends with
exactly one terminal event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue_runtime.store.records import (
        Created,
        Depth,
        Event,
        Job,
        NewEvent,
        NewJob,
        Page,
        Progress,
        Renewal,
        Upload,
    )


class Jobs(Protocol):
    """Jobs by name. Unknown names raise CompositionNotFound or JobNotFound, except in get."""

    async def create(self, job: NewJob, *, queue_limit: int, retry_after_s: float = 5.0) -> Created:
        """Write a job and its first events, and enqueue it; QueueFull, RequestIdReused."""
        ...

    async def get(self, name: str) -> Job | None:
        """Return a job."""
        ...

    async def list(
        self,
        owner: str,
        kinds: Sequence[str],
        *,
        states: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        limit: int = 50,
        after: int | None = None,
    ) -> Page:
        """List an owner's jobs of some kinds, newest first."""
        ...

    async def delete(self, name: str) -> None:
        """Remove a finished job with its log; NotFinished."""
        ...

    async def expired(self, limit: int = 100) -> Sequence[Job]:
        """List finished jobs whose time has passed: delete their artifacts first, then them."""
        ...


class Queue(Protocol):
    """Who works on what."""

    async def claim(self, conductor_id: str, lease_s: float, kinds: Sequence[str] = ()) -> Job | None:
        """Claim the next job: lost leases first, then cancelled jobs, then owners in turn, oldest job first."""
        ...

    async def renew(self, name: str, epoch: int, lease_s: float) -> Renewal:
        """Keep the lease; Fenced when it is another's by now or the job has ended."""
        ...

    async def release(self, name: str, epoch: int) -> None:
        """Give a job back unfinished (a drain, not a failure): it keeps its place and does not count as a try."""
        ...

    async def wait_for_job(self, timeout_s: float, kinds: Sequence[str] = ()) -> bool:
        """Wait until a job of these kinds may be there to claim; a hint."""
        ...

    async def queue_position(self, name: str) -> int:
        """Return 1 for the next one to be claimed; 0 when it does not wait."""
        ...

    async def depths(self) -> Mapping[str, Depth]:
        """Return how many wait and run, by kind."""
        ...

    async def request_cancel(self, name: str, reason: str) -> Job:
        """Ask for its end; the first reason stays, a finished job is returned as it is."""
        ...

    async def wait_for_cancel(self, name: str, timeout_s: float) -> bool:
        """Wait until somebody asks for its end; false when time ran out."""
        ...

    async def attach(self, name: str, until: float) -> None:
        """Keep it alive until a wall-clock time, at least: an owner's stream is there (design 9.18)."""
        ...


class Log(Protocol):
    """The event log of each job."""

    async def append(
        self,
        name: str,
        epoch: int,
        events: Sequence[NewEvent],
        *,
        resource: bytes | None = None,
        state: str | None = None,
        checkpoint: bytes | None = None,
        terminal: bool = False,
    ) -> int:
        """Append in one transaction with all that belongs to it; returns the last sequence. Fenced, LogEnded.

        A checkpoint is progress: it sets the count of claims back. `terminal` ends log and job.
        """
        ...

    async def read(self, name: str, after: int, limit: int = 256) -> Sequence[Event]:
        """Read committed events after a sequence; CursorAhead names the last sequence in its metadata."""
        ...

    async def wait(self, name: str, after: int, timeout_s: float) -> bool:
        """Wait until there is an event after a sequence; false when time ran out."""
        ...

    async def set_progress(self, name: str, epoch: int, payload: bytes) -> None:
        """Say where the work is, in place of what was said before; not a row of the log. Fenced."""
        ...

    async def progress(self, name: str) -> Progress:
        """Return what was last said, up to half a second late: version 0 when nothing was."""
        ...


class Uploads(Protocol):
    """Files that callers send in pieces: their size, progress and digest. The bytes are artifacts."""

    async def create_upload(self, upload: Upload, *, quota_bytes: int) -> Upload:
        """Begin an upload; QuotaExceeded when the owner's uploads fill their quota."""
        ...

    async def get_upload(self, name: str) -> Upload | None:
        """Return an upload."""
        ...

    async def advance_upload(self, name: str, offset: int, length: int, *, quota_bytes: int) -> Upload:
        """Note that length bytes are stored at offset, which must be the next; OffsetOutOfRange, UploadFinished."""
        ...

    async def finish_upload(self, name: str, digest: bytes) -> Upload:
        """Close an upload for good."""
        ...

    async def delete_upload(self, name: str) -> None:
        """Forget an upload."""
        ...

    async def expired_uploads(self, limit: int = 100) -> Sequence[Upload]:
        """List uploads whose time has passed, finished or not."""
        ...


class Store(Jobs, Queue, Log, Uploads, Protocol):
    """All of it."""

    async def close(self) -> None:
        """Finish what is being written and let go."""
        ...
