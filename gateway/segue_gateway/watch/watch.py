"""One watcher's stream: reads the log, puts audio in place of its references, and sends checkpoints when idle.

A watcher reads committed rows and stored bytes at its own pace. It never delays the work.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, stream_pb2
from segue_composition import log_rows, state
from segue_gateway.watch import cursor as cursors
from segue_gateway.watch import message_bytes
from segue_gateway.watch.audio_messages import AudioMessages, frames_sent, run_of_segments
from segue_gateway.watch.cursor import Cursor
from segue_runtime import errors
from segue_runtime.store import TailLost

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Sequence

    from segue_composition.services import Services
    from segue_gateway.ready_times import ReadyTimes
    from segue_gateway.seal import Seal
    from segue_gateway.watch.audio_messages import LoggedSegment
    from segue_runtime.store import Event, Job, Progress

READ_ROWS: Final = 256
WAIT_S: Final = 0.5
"""The longest wait between two reads of the log: the doorbell is only a hint, and progress does not ring it."""
STAGES: Final = {
    stream_pb2.AUDIO_SELECTION_UNSPECIFIED: frozenset({audio_pb2.STAGE_DRAFT}),
    stream_pb2.AUDIO_SELECTION_NONE: frozenset[int](),
    stream_pb2.AUDIO_SELECTION_DRAFT: frozenset({audio_pb2.STAGE_DRAFT}),
    stream_pb2.AUDIO_SELECTION_MASTER: frozenset({audio_pb2.STAGE_MASTER}),
    stream_pb2.AUDIO_SELECTION_BOTH: frozenset({audio_pb2.STAGE_DRAFT, audio_pb2.STAGE_MASTER}),
}


@dataclass(frozen=True)
class WatchOptions:
    """The options of a watcher's request."""

    audio: stream_pb2.AudioSelection.ValueType
    encoding: audio_pb2.SampleFormat.ValueType
    heartbeat_s: float


class Watch:
    """One watcher of one composition."""

    def __init__(
        self,
        services: Services,
        seal: Seal,
        ready_times: ReadyTimes,
        draining: asyncio.Event,
        job: Job,
        start: Cursor,
        options: WatchOptions,
    ) -> None:
        self._store = services.store
        self._seal = seal
        self._ready_times = ready_times
        self._draining = draining
        self._name = job.name
        self._kind = job.kind
        self._cursor = start
        self._heartbeat_s = options.heartbeat_s
        self._stages = STAGES[options.audio]
        self._audio = AudioMessages(services.artifacts, seal, job.name, options.encoding)
        self._progress_version = 0
        self._progress: frozenset[bytes] = frozenset()
        self._asked = 0.0
        """When the progress was read. New rows do not wait for it each time."""
        self._last_sent = time.monotonic()
        self._has_sent = False
        self._finished = False

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield encoded messages from the cursor on, until the composition has ended."""
        self._progress_version = (await self._store.progress(self._name)).version
        while not self._finished:
            try:
                rows = await self._read()
            except TailLost:
                for message in self._start_again():
                    yield message
                self._has_sent = True
                continue
            async for message in self._send(rows) if rows else self._wait():
                yield message
                self._has_sent = True
                self._last_sent = time.monotonic() if rows else self._last_sent

    async def _read(self) -> Sequence[Event]:
        """Read the rows after the cursor. TailLost if the log does not have the row of the cursor any more."""
        cursor = self._cursor
        try:
            stamp = 0 if cursor.frames else cursor.stamp
            rows = await self._store.read(self._name, cursor.sequence, READ_ROWS, stamp=stamp)
            if cursor.frames and cursor.stamp and (not rows or rows[0].stamp != cursor.stamp):
                raise TailLost(f"the log of {self._name} has lost row {cursor.sequence + 1}")
        except errors.CursorAhead as error:
            if cursor.stamp:
                raise TailLost(f"the log of {self._name} has lost row {cursor.sequence}") from error
            # The store's error has a row number; the caller's error needs a cursor.
            last = Cursor(int(error.metadata["lastSequence"]))
            metadata = {"lastCursor": cursors.encode(last, self._name, self._seal)}
            raise errors.CursorAhead(error.message, metadata=metadata) from error
        return rows

    def _start_again(self) -> list[bytes]:
        """Return the announcement that the stream starts again: the store has lost rows that its reader has.

        Sequences never go back within a stream. A stream that has sent something ends, and its reader resumes.
        """
        if self._has_sent:
            raise errors.StoreUnavailable(
                f"the store has lost the end of the log of {self._name}; continue with WatchComposition and the last "
                "cursor",
                retry_after_s=1,
            )
        self._cursor = cursors.START
        messages: list[bytes] = []
        for stage in (audio_pb2.STAGE_DRAFT, audio_pb2.STAGE_MASTER):
            event = stream_pb2.CompositionEvent(composition=self._name)
            event.draft_rewound.stage = stage
            log_rows.set_time(event.event_time, time.time())
            messages.append(self._encode(event))
        return messages

    async def _send(self, rows: Sequence[Event]) -> AsyncIterator[bytes]:
        index = 0
        while index < len(rows):
            row = rows[index]
            if row.kind == log_rows.SEGMENT:
                run = run_of_segments(rows, index)
                index += len(run)
                async for message in self._send_audio(run):
                    yield message
            else:
                index += 1
                event = log_rows.event_of(row, self._name)
                self._cursor = Cursor(row.sequence, stamp=row.stamp)
                yield self._encode(event)
                if event.WhichOneof("event") == "finished":
                    self._finished = True
                    return

    async def _send_audio(self, run: Sequence[LoggedSegment]) -> AsyncIterator[bytes]:
        skip = frames_sent(self._cursor, run[0].segment)
        if run[0].segment.stage not in self._stages:
            self._cursor = Cursor(run[-1].row.sequence, stamp=run[-1].row.stamp)
            return
        async for cursor, message in self._audio.messages(run, skip):
            self._cursor = cursor
            yield message

    async def _wait(self) -> AsyncIterator[bytes]:
        """Wait for rows; meanwhile yield progress, and a checkpoint if nothing was sent for the heartbeat interval."""
        if self._draining.is_set():
            raise errors.ShuttingDown(
                "this server is stopping; continue with WatchComposition and the last cursor", retry_after_s=1
            )
        since_sent = time.monotonic() - self._last_sent
        timeout_s = max(0.01, min(WAIT_S, self._heartbeat_s - since_sent))
        has_rows = await self._store.wait(self._name, self._cursor.sequence, timeout_s)
        if has_rows and time.monotonic() - self._asked < WAIT_S:
            return
        progress = await self._store.progress(self._name)
        self._asked = time.monotonic()
        if progress.version > self._progress_version:
            self._progress_version = progress.version
            for event in self._news(progress):
                yield await self._unlogged(event)
        elif time.monotonic() - self._last_sent >= self._heartbeat_s:
            yield await self._unlogged(await self._checkpoint())

    def _news(self, progress: Progress) -> list[stream_pb2.CompositionEvent]:
        """Return the progress that has changed: the store holds that of all sections in work."""
        before, now = self._progress, {event.SerializeToString(): event for event in log_rows.unpack(progress.payload)}
        self._progress = frozenset(now)
        return [event for content, event in now.items() if content not in before]

    async def _unlogged(self, event: stream_pb2.CompositionEvent) -> bytes:
        """Encode an event that has no row in the log."""
        content = event.checkpoint if event.HasField("checkpoint") else event.section_progress
        await self._ready_times.fill(content.ready_in, self._name, self._kind)
        event.composition = self._name
        event.sequence = self._cursor.sequence
        log_rows.set_time(event.event_time, time.time())
        self._last_sent = time.monotonic()
        return self._encode(event)

    async def _checkpoint(self) -> stream_pb2.CompositionEvent:
        job = await self._store.get(self._name)
        if job is None:
            raise errors.CompositionNotFound(f"{self._name} was deleted", metadata={"name": self._name})
        composition = composition_pb2.Composition.FromString(job.resource)
        if job.is_finished and not state.is_terminal(composition):
            raise errors.InternalError("the log ended without its last event")
        positions = await self._store.queue_positions([self._name] if job.is_waiting else [])
        return stream_pb2.CompositionEvent(
            checkpoint=stream_pb2.Checkpoint(
                state=composition.state,
                queue_position=positions.get(self._name, 0),
                waiting_for="" if job.is_waiting else log_rows.waiting_for(await self._store.progress(self._name)),
            )
        )

    def _encode(self, event: stream_pb2.CompositionEvent) -> bytes:
        return message_bytes.encode_event(cursors.encode(self._cursor, self._name, self._seal), event)
