"""The journal of a claim: every event of the composition is appended here, fenced by the claim's epoch."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_composition import log_rows, state
from segue_conductor.checkpoint import JobCheckpoint
from segue_runtime import errors, logs
from segue_runtime.store import NewEvent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from segue.composer.v1.composition_pb2 import Composition
    from segue.composer.v1.stream_pb2 import CompositionEvent
    from segue_composition.log_rows import Segment
    from segue_runtime.store import Delivered, Job, Store

T = TypeVar("T")
RETRY_S: Final = 0.5
log = logs.get("conductor")
_outages = logs.BoundedLog(log)


class Journal:
    """Writes of one claim. The composition in memory is always the stored one.

    A write waits for a store that does not answer: a disk that stands still for a while must not fail a piece.
    """

    def __init__(self, store: Store, job: Job) -> None:
        self._store = store
        self.name = job.name
        self.epoch = job.epoch
        self.composition: Composition = composition_pb2.Composition.FromString(job.resource)
        self.checkpoint = JobCheckpoint.decode(job.checkpoint)
        self._last_row = job.last_row
        self._checkpointed = asyncio.Event()
        # Rendering and mixing append at the same time: each event must change the result of the one before.
        self._appending = asyncio.Lock()

    @property
    def sequence(self) -> int:
        """The newest row of the log that this claim knows of."""
        return self._last_row.sequence

    async def next_checkpoint(self) -> None:
        """Wait until the job reaches its next checkpoint."""
        self._checkpointed.clear()
        await self._checkpointed.wait()

    async def append(self, *events: CompositionEvent, checkpoint: JobCheckpoint | None = None) -> int:
        """Append events and store the composition that they change, in one transaction; return the newest sequence."""
        async with self._appending:
            return await until_the_store_answers(lambda: _uncancelled(self._write(events, checkpoint)))

    async def append_progress(self, event: CompositionEvent) -> int:
        """Append an event that counts as progress: the job's claims are counted from 0 again."""
        async with self._appending:
            # The present checkpoint is read here: the mixer may have reached it while this waited.
            return await until_the_store_answers(lambda: _uncancelled(self._write((event,), self.checkpoint)))

    async def add_segments(self, segments: Sequence[Segment], before: Sequence[CompositionEvent] = ()) -> int:
        """Append references to audio, after the events that announce them."""
        async with self._appending:
            return await until_the_store_answers(lambda: _uncancelled(self._write(before, None, segments=segments)))

    async def finish(
        self,
        final: composition_pb2.State.ValueType,
        error: errors.SegueError | None,
        delivered: Delivered,
        stage: composition_pb2.WorkStage.ValueType = composition_pb2.WORK_STAGE_UNSPECIFIED,
    ) -> None:
        """Append the only terminal event: the composition in its final state; `stage` is where the error occurred."""
        event = state.finished_event(self.composition, final, error, time.time(), stage)
        self.composition = event.finished.composition
        async with self._appending:
            await until_the_store_answers(lambda: _uncancelled(self._write((event,), None, delivered=delivered)))
        log.info("ended", composition=self.name, state=composition_pb2.State.Name(final))

    async def _write(
        self,
        events: Sequence[CompositionEvent],
        checkpoint: JobCheckpoint | None,
        *,
        segments: Sequence[Segment] = (),
        delivered: Delivered | None = None,
    ) -> int:
        changed = composition_pb2.Composition()
        changed.CopyFrom(self.composition)
        now = time.time()
        written: list[CompositionEvent] = []
        for event in events:
            log_rows.set_time(event.event_time, now)
            known = len(changed.warnings)
            state.apply(changed, event)
            written.append(event)
            if event.WhichOneof("event") != "warned":
                # Callers that show warnings need not know which events carry them.
                for warning in changed.warnings[known:]:
                    written.append(stream_pb2.CompositionEvent(warned=warning))
                    log_rows.set_time(written[-1].event_time, now)
        rows = [self._row(event, plan_version=changed.plan_version) for event in written]
        for segment in segments:
            state.apply_segment(changed, segment)
            rows.append(NewEvent(log_rows.SEGMENT, segment.encode()))
        if checkpoint:  # it is progress, for which the store counts the claims from 0 again
            changed.claims = 0
        self._last_row = await self._store.append(
            self.name,
            self.epoch,
            rows,
            after=self._last_row,
            resource=changed.SerializeToString(),
            state=composition_pb2.State.Name(changed.state),
            checkpoint=checkpoint.encode() if checkpoint else None,
            terminal=delivered is not None,
            delivered=delivered,
        )
        self.composition = changed
        if checkpoint:
            self.checkpoint = checkpoint
            self._checkpointed.set()
        return self.sequence

    def _row(self, event: CompositionEvent, *, plan_version: int) -> NewEvent:
        event.plan_version = plan_version
        return NewEvent(log_rows.EVENT, event.SerializeToString())


async def until_the_store_answers(write: Callable[[], Awaitable[T]]) -> T:
    """Repeat a write while the store does not answer. If another conductor claims the job meanwhile, it is fenced."""
    while True:
        try:
            return await write()
        except errors.StoreUnavailable as error:
            _outages.warning("waiting for the store", reason=error.reason)
            await asyncio.sleep(RETRY_S)


async def _uncancelled(write: Coroutine[Any, Any, int]) -> int:
    """Finish a write even if the caller is cancelled: otherwise the store could have rows that the journal lacks."""
    writing = asyncio.create_task(write)
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise
