"""Puts audio into a watcher's stream: segments of the log become messages of up to 64 KiB.

The messages are cut here and not by the writer of the segments: neighbouring segments share messages, whatever their
lengths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import stream_pb2
from segue_audio.pcm import SampleFormat, decode_pcm, encode_pcm
from segue_composition import log_rows
from segue_composition.log_rows import Segment
from segue_gateway.watch import cursor as cursors
from segue_gateway.watch import message_bytes
from segue_gateway.watch.cursor import Cursor
from segue_runtime import errors
from segue_runtime.artifacts import Part
from segue_runtime.rpc.chunks import CHUNK_BYTES, SAMPLE_FORMATS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from segue_gateway.seal import Seal
    from segue_runtime.artifacts import ArtifactStore
    from segue_runtime.store import Event

READ_MESSAGES: Final = 8
"""The messages of audio that are read at once. A stalled watcher holds these in memory: half a MiB."""


class LoggedSegment(NamedTuple):
    """A segment and its row in the log."""

    row: Event
    segment: Segment


class AudioMessages:
    """The audio messages of one watcher."""

    def __init__(
        self, artifacts: ArtifactStore, seal: Seal, composition: str, encoding: audio_pb2.SampleFormat.ValueType
    ) -> None:
        self._artifacts = artifacts
        self._seal = seal
        self._composition = composition
        self._encoding = encoding or audio_pb2.SAMPLE_FORMAT_F32LE

    async def messages(self, run: Sequence[LoggedSegment], skip: int) -> AsyncIterator[tuple[Cursor, bytes]]:
        """Yield the audio of neighbouring segments, without the first frames; each message has its cursor."""
        first = run[0].segment
        step = CHUNK_BYTES // first.frame_bytes
        position, end, index = first.first_frame + skip, run[-1].segment.end_frame, 0
        while position < end:
            # One read serves several messages: a hop to a thread costs more than a message.
            block_first, block_end = position, min(end, position + READ_MESSAGES * step)
            block = await self._artifacts.read_parts(_parts_of(run[index:], block_first, block_end))
            while position < block_end:
                stop = min(position + step, block_end)
                while stop >= run[index].segment.end_frame and index + 1 < len(run):
                    index += 1
                cursor = _cursor_at(run[index], stop)
                begin = (position - block_first) * first.frame_bytes
                audio = block[begin : (stop - block_first) * first.frame_bytes]
                yield cursor, self._message(cursor, run[index].row.time, first, position, audio)
                position = stop

    def _message(self, cursor: Cursor, time_s: float, segment: Segment, first_frame: int, audio: bytes) -> bytes:
        frames = len(audio) // segment.frame_bytes
        encoding = SAMPLE_FORMATS[self._encoding]
        if encoding is not SampleFormat.F32LE:
            block = decode_pcm(audio, SampleFormat.F32LE, segment.channels)
            # The dither depends on the frame number only: a resumed stream has the same bytes.
            audio = encode_pcm(block, encoding, first_frame=first_frame)
        event = stream_pb2.CompositionEvent(composition=self._composition, sequence=cursor.sequence)
        log_rows.set_time(event.event_time, time_s)
        chunk = audio_pb2.AudioChunk(
            format=audio_pb2.AudioFormat(
                sample_rate=segment.sample_rate, channels=segment.channels, sample_format=self._encoding
            ),
            stage=segment.stage,  # type: ignore[arg-type]  # the stored number of the enum
            section_id=segment.section_id,
            take=segment.take,
            attempt=segment.attempt,
            first_frame=first_frame,
            frames=frames,
        )
        return message_bytes.encode_audio(cursors.encode(cursor, self._composition, self._seal), event, chunk, audio)


def run_of_segments(rows: Sequence[Event], index: int) -> list[LoggedSegment]:
    """Return the segments from a row on that can share messages: they continue each other in stage and take."""
    run = [LoggedSegment(rows[index], Segment.decode(rows[index].payload))]
    for row in rows[index + 1 :]:
        if row.kind != log_rows.SEGMENT:
            break
        segment = Segment.decode(row.payload)
        if not segment.follows(run[-1].segment):
            break
        run.append(LoggedSegment(row, segment))
    return run


def frames_sent(cursor: Cursor, segment: Segment) -> int:
    """Return the frames of a segment that were sent before the cursor."""
    if not cursor.frames:
        return 0
    if cursor.attempt != segment.attempt or cursor.frames > segment.frames:
        raise errors.InvalidCursor(
            "cursor: it points to audio that this log does not have; leave it empty to start at the first event"
        )
    return cursor.frames


def _cursor_at(logged: LoggedSegment, position: int) -> Cursor:
    row, segment = logged
    if position == segment.end_frame:
        return Cursor(row.sequence, stamp=row.stamp)
    return Cursor(row.sequence - 1, position - segment.first_frame, segment.attempt, row.stamp)


def _parts_of(run: Sequence[LoggedSegment], first: int, stop: int) -> list[Part]:
    """Return the stored ranges of the frames from `first` to `stop`."""
    parts: list[Part] = []
    for _, segment in run:
        if segment.first_frame >= stop:
            break
        begin = max(first, segment.first_frame) - segment.first_frame
        end = min(stop, segment.end_frame) - segment.first_frame
        parts.append(Part(segment.ref, begin * segment.frame_bytes, (end - begin) * segment.frame_bytes))
    return parts
