"""The protocols of a store: jobs, their queue, their event logs, uploads, and the renderer pool.

A job waits in the queue until a conductor claims it. Each claim raises the job's *epoch*; writes under an older epoch
are refused. A job ends with exactly one terminal event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from segue_runtime.accounting.traffic import Traffic
    from segue_runtime.store.owners.records import Delivered, UsagePage, UsagePlace
    from segue_runtime.store.pool.records import (
        KnownModel,
        KnownRenderer,
        LeasedSection,
        LeaseEnd,
        LinePlace,
        RendererOffer,
        SectionLease,
        WaitingSection,
    )
    from segue_runtime.store.pool.workload import Workload
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
        RowMark,
        Upload,
        UploadPage,
        UploadPart,
    )


class Jobs(Protocol):
    """Jobs by name. An unknown name raises CompositionNotFound or JobNotFound, except in `get`."""

    async def create(self, job: NewJob, *, queue_limit: int) -> Created:
        """Write a job and its first events, and put it into the queue.

        It writes the owner's share of the queue, too. Raises QueueFull, QuotaExceeded, RequestIdReused,
        or ArtifactNotFound when the upload that it needs is not there any more.
        """
        ...

    async def get(self, name: str) -> Job | None:
        """Return a job, or None."""
        ...

    async def list(
        self,
        owner: str | None,
        kinds: Sequence[str],
        *,
        states: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        limit: int = 50,
        after: int | None = None,
    ) -> Page:
        """List the jobs of an owner, or of all (None), of some kinds, newest first."""
        ...

    async def delete(self, name: str) -> None:
        """Remove a finished job and its log. Raises NotFinished."""
        ...

    async def expired(self, limit: int = 100) -> Sequence[Job]:
        """List finished jobs past their retention time. Callers delete the artifacts first, then the jobs."""
        ...

    async def scan(self, kind: str, *, limit: int = 100, after: int | None = None) -> Page:
        """List the jobs of a kind of all owners, oldest first."""
        ...

    async def num_deleted(self) -> int:
        """Return how many jobs were ever deleted."""
        ...

    async def shrink(self) -> None:
        """Return the space of deleted rows to the disk."""
        ...


class Queue(Protocol):
    """The queue of waiting jobs, and the leases of running ones."""

    async def claim(self, conductor_id: str, lease_s: float, kinds: Sequence[str] = ()) -> Job | None:
        """Claim the next job: lost leases, then cancelled jobs, then the highest priority with one that can start.

        Within a priority owners have weighted turns (`segue_runtime.store.queue.turns`), each with its oldest job.
        Those at their running limit are passed over.
        """
        ...

    async def claim_one(self, name: str, holder: str, lease_s: float) -> Job | None:
        """Claim a certain job; None if it has ended, or somebody holds it."""
        ...

    async def renew(self, name: str, epoch: int, lease_s: float) -> Renewal:
        """Extend the lease. Raises Fenced when another conductor has the job, or the job has ended."""
        ...

    async def release(self, name: str, epoch: int) -> None:
        """Return an unfinished job to the queue: it keeps its position, and the claim does not count as a try."""
        ...

    async def set_alone(self, name: str, epoch: int) -> None:
        """Note that the claim's process works on this job alone, until the next progress. Raises Fenced.

        If the lease is lost then, the job's next claim has one of `lone_losses` more.
        """
        ...

    async def wait_for_job(self, timeout_s: float, kinds: Sequence[str] = ()) -> bool:
        """Wait until a job of these kinds can probably be claimed."""
        ...

    async def queue_positions(self, names: Sequence[str]) -> Mapping[str, int]:
        """Return the positions of waiting jobs in the queue: 1 for the next one. Jobs that do not wait are left out.

        Jobs that their owner's running limit holds back come after all others.
        """
        ...

    async def depths(self) -> Mapping[str, Depth]:
        """Count waiting and running jobs by kind."""
        ...

    async def request_cancel(self, name: str, reason: str) -> Job:
        """Request that a job ends. The first reason counts; a finished job does not change."""
        ...

    async def wait_for_cancel(self, name: str, timeout_s: float) -> bool:
        """Wait until cancellation is requested; return False after the timeout."""
        ...

    async def attach(self, name: str, for_s: float) -> None:
        """Record that an owner's stream is open, and counts as open for some time from now on."""
        ...


class Log(Protocol):
    """The event log of each job."""

    async def append(
        self,
        name: str,
        epoch: int,
        events: Sequence[NewEvent],
        *,
        after: RowMark,
        resource: bytes | None = None,
        state: str | None = None,
        checkpoint: bytes | None = None,
        terminal: bool = False,
        delivered: Delivered | None = None,
    ) -> RowMark:
        """Append events and change the job in one transaction; return the last row. Raises Fenced or LogEnded.

        `after` is the last row that the writer knows of. If the log ends with another one, the writer is fenced: its
        next claim continues from what the store has.
        A checkpoint counts as progress: it resets the number of claims and lone losses. `terminal` ends the log and the
        job; `delivered` is what an ended job counts in its owner's usage.
        """
        ...

    async def read(self, name: str, after: int, limit: int = 256, *, stamp: int = 0) -> Sequence[Event]:
        """Read committed events after a sequence. Raises CursorAhead with the last sequence in its metadata.

        With the stamp of the row at `after`, a log that does not have this row raises TailLost instead.
        """
        ...

    async def wait(self, name: str, after: int, timeout_s: float) -> bool:
        """Wait for an event after a sequence; return False after the timeout."""
        ...

    async def set_progress(self, name: str, epoch: int, payload: bytes) -> None:
        """Replace the progress of a job; it is no row of the log. Raises Fenced."""
        ...

    async def progress(self, name: str) -> Progress:
        """Return the newest progress, up to half a second late; version 0 when there is none."""
        ...


class Uploads(Protocol):
    """Files that callers send in parts: their size, progress and digest. The bytes are artifacts."""

    async def create_upload(
        self, upload: Upload, *, quota_bytes: int, max_uploads: int, storage_bytes: int | None = None
    ) -> Upload:
        """Create an upload.

        Raises QuotaExceeded when its size and the owner's received bytes exceed the quota, or the owner has as many
        uploads as allowed; also when its size and all stored bytes of the owner exceed `storage_bytes`.
        """
        ...

    async def get_upload(self, name: str) -> Upload | None:
        """Return an upload, or None."""
        ...

    async def list_uploads(self, owner: str | None, *, limit: int = 50, after: int | None = None) -> UploadPage:
        """List the uploads of an owner, or of all (None), newest first."""
        ...

    async def advance_upload(
        self, name: str, part: UploadPart, *, quota_bytes: int, storage_bytes: int | None = None
    ) -> Upload:
        """Record a stored part, whose offset must be the next one. OffsetOutOfRange, UploadFinished, QuotaExceeded."""
        ...

    async def upload_parts(self, name: str, start: int = 0, end: int | None = None) -> Sequence[UploadPart]:
        """Return the parts of an unfinished upload that have bytes of a range, in order."""
        ...

    async def finish_upload(self, name: str, digest: bytes) -> Upload:
        """Finish an upload: it accepts no more bytes, and its parts are forgotten."""
        ...

    async def discard_upload(self, name: str) -> None:
        """Hide an upload from every reader, so that its bytes can be deleted. NotFinished while a job needs it."""
        ...

    async def delete_upload(self, name: str) -> None:
        """Delete the row of a discarded upload, after its bytes."""
        ...

    async def expired_uploads(self, limit: int = 100) -> Sequence[Upload]:
        """List uploads past their retention time, unfinished ones without new bytes for an hour, and discarded ones.

        Uploads that unfinished jobs need are not among them.
        """
        ...


class Pool(Protocol):
    """The renderers that are present, the models that are remembered, and the line of sections that wait for a slot.

    A section in the line belongs to a claim: it vanishes, with its lease, when the claim's job ends, is released, or is
    claimed again.
    """

    async def offer(self, offered: RendererOffer, for_s: float) -> None:
        """Write what a renderer offers now. It counts as present for some seconds; its models are remembered."""
        ...

    async def withdraw(self, renderer: str, stream: str = "") -> None:
        """Count a renderer as absent until it offers again; with `stream`, only if it joined over that stream."""
        ...

    async def leases_at(self, renderer: str) -> tuple[int, Sequence[LeasedSection]]:
        """Return the leases at a renderer, and the number of the last turn that a section of any renderer got."""
        ...

    async def wait_for_turn(self, after: int, timeout_s: float) -> None:
        """Wait until a section gets a later turn than `after`, or for the timeout."""
        ...

    async def renderers(self) -> Sequence[KnownRenderer]:
        """List the present renderers."""
        ...

    async def models(self) -> Sequence[KnownModel]:
        """List the models that were offered within the retention time, in the order in which they were seen first."""
        ...

    async def enter_line(self, section: WaitingSection) -> int:
        """Put a section into the line; return its ticket. Raises Fenced."""
        ...

    async def wait_for_lease(self, ticket: int, timeout_s: float) -> SectionLease | None:
        """Wait until a section has a lease; None after the timeout. Raises Fenced when it has left the line."""
        ...

    async def leave_line(self, ticket: int, end: LeaseEnd, speed: float = 0.0) -> None:
        """Take a section out of the line, or give its lease back; a speed above 0 is remembered for its model."""
        ...

    async def places(self) -> Mapping[int, LinePlace]:
        """Return the place of every waiting section, by ticket."""
        ...

    async def num_waiting(self) -> Mapping[str, int]:
        """Count the waiting sections by model; models without any are left out."""
        ...

    async def add_cost(self, stage: str, cost: float) -> None:
        """Remember what a stage took, in seconds of work for a second of audio, or for a megabyte of a file."""
        ...

    async def workload(self, kind: str) -> Workload:
        """Return the unfinished jobs of a kind, and what their work depends on."""
        ...

    async def assign(self) -> None:
        """Give free slots to waiting sections. Every other write does so, too; this one is for changes by time."""
        ...


class Usage(Protocol):
    """What each owner has used, by day in UTC. The days of more than a year are forgotten.

    Audio, renderers' time and stored bytes are counted by the writes that they belong to.
    """

    async def add_traffic(self, traffic: Mapping[str, Traffic]) -> None:
        """Count what a server did for owners since its last report."""
        ...

    async def usage(
        self,
        owner: str | None,
        first_day: dt.date,
        last_day: dt.date,
        *,
        limit: int = 100,
        after: UsagePlace | None = None,
    ) -> UsagePage:
        """List the usage of one owner, or of all, by day and owner; days without usage are left out."""
        ...

    async def audio_seconds_today(self, owner: str) -> float:
        """Return the seconds of audio of an owner's compositions that have ended today."""
        ...

    async def stored_bytes(self, owner: str) -> int:
        """Return the size of an owner's ended jobs and uploads. Takes do not count."""
        ...


class Owners(Protocol):
    """What is left of an owner when its jobs and uploads are deleted."""

    async def discarded_uploads(self, owner: str) -> Sequence[str]:
        """Return the owner's uploads that are hidden, and whose bytes may be there still."""
        ...

    async def erase(self, owner: str) -> int:
        """Forget usage, turns and request ids of an owner; return the days of usage.

        Raises NotFinished if the owner has jobs or uploads.
        """
        ...

    async def purge(self) -> None:
        """Remove what was deleted from the files in which the store is kept, too. Others may use it meanwhile."""
        ...


class Store(Jobs, Queue, Log, Uploads, Usage, Owners, Protocol):
    """A store of jobs, queue, logs, uploads and usage."""

    def exclusive(self, name: str) -> AbstractAsyncContextManager[None]:
        """Hold the lock of a name, which one task of all processes has at a time; a process that ends loses it."""
        ...

    @property
    def pool(self) -> Pool:
        """The renderer pool."""
        ...

    @property
    def token_key(self) -> bytes:
        """A random key, the same for all processes that use the store."""
        ...

    async def check(self) -> None:
        """Raise an error while the store cannot be read, or its last write failed and another one fails too."""
        ...

    async def close(self) -> None:
        """Finish pending writes and close the connections."""
        ...
