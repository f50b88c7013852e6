"""What a conductor says about its composition: every word goes through here, fenced by its epoch."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_composition import log_rows, state
from segue_conductor.checkpoint import Checkpoint
from segue_runtime.store import NewEvent

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from segue.composer.v1.composition_pb2 import Composition
    from segue.composer.v1.stream_pb2 import CompositionEvent
    from segue_composition.log_rows import Segment
    from segue_runtime.store import Job, Store


class Journal:
    """One claim's writes. The composition in memory is always what the store has."""

    def __init__(self, store: Store, job: Job) -> None:
        self._store = store
        self.name = job.name
        self.epoch = job.epoch
        self.composition: Composition = composition_pb2.Composition.FromString(job.resource)
        self.checkpoint = Checkpoint.decode(job.checkpoint)
        self.sequence = job.last_sequence
        """The newest row of the log, as far as this claim knows."""
        self._checkpointed = asyncio.Event()
        self._saying = asyncio.Lock()

    async def next_checkpoint(self) -> None:
        """Wait until the work has come to its next checkpoint."""
        self._checkpointed.clear()
        await self._checkpointed.wait()

    async def say(self, *events: CompositionEvent, checkpoint: Checkpoint | None = None) -> int:
        """Append events, with the composition as they leave it, in one transaction; return the newest sequence."""
        return await self._append(events, checkpoint, terminal=False)

    async def add_segments(self, segments: Sequence[Segment], before: Sequence[CompositionEvent] = ()) -> int:
        """Append audio references, after the events that announce them."""
        rows = [self._row(event) for event in before]
        rows += [NewEvent(log_rows.SEGMENT, segment.encode()) for segment in segments]

        async def write() -> int:
            self.sequence = await self._store.append(self.name, self.epoch, rows)
            return self.sequence

        return await _to_its_end(write())

    async def finish(self, event_of: composition_pb2.Composition) -> None:
        """Append the one terminal event: the composition as it ended."""
        log_rows.set_time(event_of.end_time, time.time())
        self.composition = event_of
        event = stream_pb2.CompositionEvent(finished=stream_pb2.Finished(composition=event_of))
        await self._append((event,), None, terminal=True)

    async def _append(
        self, events: Sequence[CompositionEvent], checkpoint: Checkpoint | None, *, terminal: bool
    ) -> int:
        # Rendering and mixing speak at once: each must change what the other has left.
        async with self._saying:
            return await _to_its_end(self._write(events, checkpoint, terminal=terminal))

    async def _write(self, events: Sequence[CompositionEvent], checkpoint: Checkpoint | None, *, terminal: bool) -> int:
        changed = composition_pb2.Composition()
        changed.CopyFrom(self.composition)
        now = time.time()
        for event in events:
            log_rows.set_time(event.event_time, now)
            state.apply(changed, event)
        rows = [self._row(event, plan_version=changed.plan_version) for event in events]
        self.sequence = await self._store.append(
            self.name,
            self.epoch,
            rows,
            resource=changed.SerializeToString(),
            state=composition_pb2.State.Name(changed.state),
            checkpoint=checkpoint.encode() if checkpoint else None,
            terminal=terminal,
        )
        self.composition = changed
        if checkpoint:
            self.checkpoint = checkpoint
            self._checkpointed.set()
        return self.sequence

    def _row(self, event: CompositionEvent, plan_version: int | None = None) -> NewEvent:
        event.plan_version = self.composition.plan_version if plan_version is None else plan_version
        return NewEvent(log_rows.EVENT, event.SerializeToString())


async def _to_its_end(write: Coroutine[Any, Any, int]) -> int:
    """Write, also when the writer is cancelled meanwhile: the store would have what we do not know of."""
    writing = asyncio.create_task(write)
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise
