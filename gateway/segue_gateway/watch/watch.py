"""A composition's stream: reads the log, puts the audio in place, and says that all is well when nothing happens.

Nothing here holds work back: a watcher reads committed rows and stored bytes at its own pace.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, stream_pb2
from segue_audio.pcm import SampleFormat, decode_pcm, encode_pcm
from segue_composition import log_rows, state
from segue_composition.log_rows import Segment
from segue_gateway.watch import cursor as cursors
from segue_gateway.watch import message_bytes
from segue_gateway.watch.cursor import Cursor
from segue_runtime import errors
from segue_runtime.artifacts import Part
from segue_runtime.rpc.chunks import CHUNK_BYTES, SAMPLE_FORMATS

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Sequence

    from segue_runtime.artifacts import ArtifactStore
    from segue_runtime.store import Event, Store

READ_ROWS: Final = 256
READ_MESSAGES: Final = 8
"""How many messages of audio are read at once: what a stalled watcher holds in memory, half a MiB."""
WAIT_S: Final = 0.5
"""The longest sleep between two looks at the log: the doorbell is only a hint, and progress rings none."""
STAGES: Final = {
    stream_pb2.AUDIO_SELECTION_UNSPECIFIED: frozenset({audio_pb2.STAGE_DRAFT}),
    stream_pb2.AUDIO_SELECTION_NONE: frozenset[int](),
    stream_pb2.AUDIO_SELECTION_DRAFT: frozenset({audio_pb2.STAGE_DRAFT}),
    stream_pb2.AUDIO_SELECTION_MASTER: frozenset({audio_pb2.STAGE_MASTER}),
    stream_pb2.AUDIO_SELECTION_BOTH: frozenset({audio_pb2.STAGE_DRAFT, audio_pb2.STAGE_MASTER}),
}


@dataclass(frozen=True)
class WatchOptions:
    """What a watcher wants."""

    audio: stream_pb2.AudioSelection.ValueType
    encoding: audio_pb2.SampleFormat.ValueType
    heartbeat_s: float


class Watch:
    """One watcher of one composition."""

    def __init__(
        self,
        store: Store,
        artifacts: ArtifactStore,
        draining: asyncio.Event,
        name: str,
        start: Cursor,
        options: WatchOptions,
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._draining = draining
        self._name = name
        self._at = start
        self._options = options
        self._stages = STAGES[options.audio]
        self._encoding = options.encoding or audio_pb2.SAMPLE_FORMAT_F32LE
        self._progress_seen = 0
        self._last_sent = time.monotonic()
        self._finished = False

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield what happened after the cursor, and what happens, until the composition has ended, ready to be sent."""
        self._progress_seen = (await self._store.progress(self._name)).version
        while not self._finished:
            rows = await self._read()
            if not rows:
                async for message in self._idle():
                    yield message
                continue
            async for message in self._send(rows):
                yield message
                self._last_sent = time.monotonic()

    async def _read(self) -> Sequence[Event]:
        try:
            return await self._store.read(self._name, self._at.sequence, READ_ROWS)
        except errors.CursorAhead as error:
            # The store counts rows; callers have cursors.
            last = Cursor(int(error.metadata["lastSequence"]))
            metadata = {"lastCursor": cursors.encode(last, self._name)}
            raise errors.CursorAhead(error.message, metadata=metadata) from error

    async def _send(self, rows: Sequence[Event]) -> AsyncIterator[bytes]:
        index = 0
        while index < len(rows):
            row = rows[index]
            if row.kind == log_rows.SEGMENT:
                run = _run_of_segments(rows, index)
                index += len(run)
                async for message in self._send_audio(run):
                    yield message
            else:
                index += 1
                event = log_rows.event_of(row, self._name)
                self._at = Cursor(row.sequence)
                yield message_bytes.message(self._cursor(), event)
                if event.WhichOneof("event") == "finished":
                    self._finished = True
                    return

    async def _send_audio(self, run: Sequence[tuple[Event, Segment]]) -> AsyncIterator[bytes]:
        """Send neighbouring segments in messages as full as may be, whatever the segments' lengths."""
        first = run[0][1]
        skip = self._skip(first)
        if first.stage not in self._stages:
            self._at = Cursor(run[-1][0].sequence)
            return
        step = CHUNK_BYTES // first.frame_bytes
        position = first.first_frame + skip
        end = run[-1][1].end_frame
        index = 0
        while position < end:
            # Several messages with one read: a hop to a thread costs more than a message does.
            block_first, block_end = position, min(end, position + READ_MESSAGES * step)
            block = await self._artifacts.read_parts(_parts_of(run[index:], block_first, block_end))
            while position < block_end:
                frames = min(step, block_end - position)
                at = (position - block_first) * first.frame_bytes
                audio = block[at : at + frames * first.frame_bytes]
                while position + frames >= run[index][1].end_frame and index + 1 < len(run):
                    index += 1
                self._at = self._place(run, index, position + frames)
                yield self._audio(first, run[index][0], position, frames, audio)
                position += frames

    def _skip(self, first: Segment) -> int:
        if not self._at.frames:
            return 0
        if self._at.attempt != first.attempt or self._at.frames > first.frames:
            raise errors.InvalidCursor("cursor: it points into audio that this log does not have; begin anew")
        return self._at.frames

    @staticmethod
    def _place(run: Sequence[tuple[Event, Segment]], index: int, position: int) -> Cursor:
        row, segment = run[index]
        if position == segment.end_frame:
            return Cursor(row.sequence)
        return Cursor(row.sequence - 1, position - segment.first_frame, segment.attempt)

    def _audio(self, segment: Segment, row: Event, first_frame: int, frames: int, audio: bytes) -> bytes:
        encoding = SAMPLE_FORMATS[self._encoding]
        if encoding is not SampleFormat.F32LE:
            block = decode_pcm(audio, SampleFormat.F32LE, segment.channels)
            # The dither depends on the frame's number only: a stream that was resumed has the same bytes.
            audio = encode_pcm(block, encoding, first_frame=first_frame)
        event = stream_pb2.CompositionEvent(composition=self._name, sequence=self._at.sequence)
        log_rows.set_time(event.event_time, row.time)
        chunk = audio_pb2.AudioChunk(
            format=audio_pb2.AudioFormat(
                sample_rate=segment.sample_rate, channels=segment.channels, sample_format=self._encoding
            ),
            stage=segment.stage,  # type: ignore[arg-type]  # a number of the enum, as it was stored
            section_id=segment.section_id,
            take=segment.take,
            attempt=segment.attempt,
            first_frame=first_frame,
            frames=frames,
        )
        return message_bytes.sound(self._cursor(), event, chunk, audio)

    async def _idle(self) -> AsyncIterator[bytes]:
        if self._draining.is_set():
            raise errors.ShuttingDown(
                "this server is stopping; go on with WatchComposition and the last cursor", retry_after_s=1
            )
        since_sent = time.monotonic() - self._last_sent
        await self._store.wait(
            self._name, self._at.sequence, max(0.01, min(WAIT_S, self._options.heartbeat_s - since_sent))
        )
        progress = await self._store.progress(self._name)
        if progress.version > self._progress_seen:
            self._progress_seen = progress.version
            for event in log_rows.unpack(progress.payload):
                yield self._from_memory(event)
        elif time.monotonic() - self._last_sent >= self._options.heartbeat_s:
            yield self._from_memory(await self._checkpoint())

    def _from_memory(self, event: stream_pb2.CompositionEvent) -> bytes:
        event.composition = self._name
        event.sequence = self._at.sequence
        log_rows.set_time(event.event_time, time.time())
        self._last_sent = time.monotonic()
        return message_bytes.message(self._cursor(), event)

    async def _checkpoint(self) -> stream_pb2.CompositionEvent:
        job = await self._store.get(self._name)
        if job is None:
            raise errors.CompositionNotFound(f"{self._name} has been deleted", metadata={"name": self._name})
        composition = composition_pb2.Composition.FromString(job.resource)
        if job.is_finished and not state.is_terminal(composition):
            raise errors.InternalError("the log has ended without its last event")
        return stream_pb2.CompositionEvent(
            checkpoint=stream_pb2.Checkpoint(
                state=composition.state,
                queue_position=await self._store.queue_position(self._name) if job.is_waiting else 0,
            )
        )

    def _cursor(self) -> str:
        return cursors.encode(self._at, self._name)


def _parts_of(run: Sequence[tuple[Event, Segment]], first: int, stop: int) -> list[Part]:
    """Return where the frames from first to stop lie."""
    parts: list[Part] = []
    for _, segment in run:
        if segment.first_frame >= stop:
            break
        begin = max(first, segment.first_frame) - segment.first_frame
        end = min(stop, segment.end_frame) - segment.first_frame
        parts.append(Part(segment.ref, begin * segment.frame_bytes, (end - begin) * segment.frame_bytes))
    return parts


def _run_of_segments(rows: Sequence[Event], index: int) -> list[tuple[Event, Segment]]:
    run = [(rows[index], Segment.decode(rows[index].payload))]
    for row in rows[index + 1 :]:
        if row.kind != log_rows.SEGMENT:
            break
        segment = Segment.decode(row.payload)
        if not segment.follows(run[-1][1]):
            break
        run.append((row, segment))
    return run
