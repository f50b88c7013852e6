"""Segments of draft and master: audio is cut on a fixed grid and each segment is committed to the log.

After a restart, audio is made again from a section's start. Segments that come out the same are skipped; the first
difference rewinds the section.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import stream_pb2
from segue_composition.log_rows import BYTES_PER_SAMPLE, EVENT, SEGMENT, Segment
from segue_runtime import errors, failpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from segue_conductor.claim import Claim
    from segue_conductor.timeline import Timeline, TimelineSection
    from segue_runtime.store import Event

READ_ROWS: Final = 512
FIRST_LENGTHS_S: Final = (0.1, 0.25, 0.5)
"""The first segments of a section are short, so that listeners hear it early; the others have 1 s."""
MASTER_LENGTH_S: Final = 2.5
"""The master is made faster than it is heard, and each segment costs a commit and two writes to the disk."""
AFTER_SEGMENT: Final = failpoints.declare("conductor.after_segment", "a segment is committed")
BEFORE_SEGMENT_ROW: Final = failpoints.declare("conductor.before_segment_row", "a segment is stored but not in the log")


def segment_length(stage: audio_pb2.Stage.ValueType, index: int, sample_rate: int) -> int:
    """Return the frames of a section's segment. They depend on nothing else, so that digests can be compared."""
    if stage == audio_pb2.STAGE_MASTER:
        return round(MASTER_LENGTH_S * sample_rate)
    seconds = FIRST_LENGTHS_S[index] if index < len(FIRST_LENGTHS_S) else 1.0
    return round(seconds * sample_rate)


class SegmentRecorder:
    """Records contiguous audio of one stage, from the start of a section on, and commits it segment by segment.

    `stored` are the segments that the log already has from there on. Equal segments are skipped, and watchers notice
    nothing. At the first difference the section gets a new attempt, from its start.
    """

    def __init__(
        self,
        claim: Claim,
        timeline: Timeline,
        stage: audio_pb2.Stage.ValueType,
        stored: Iterable[Segment],
        take_key_of: Callable[[str], str] = lambda _section_id: "",
    ) -> None:
        self._claim = claim
        self._timeline = timeline
        self._stage = stage
        self._take_key_of = take_key_of
        self._frame_bytes = timeline.channels * BYTES_PER_SAMPLE
        self._stored: dict[str, list[Segment]] = {}
        for segment in stored:
            self._stored.setdefault(segment.section_id, []).append(segment)
        self._index = 0
        self._buffer = bytearray()
        self._made: list[Segment] = []
        self._attempt = 1
        self._verifying = False
        self.has_new = False
        """Whether segments were committed that the log did not have."""

    def open_section(self, index: int) -> None:
        """Begin a section of the timeline; the section before is complete."""
        self._index = index
        self._made = []
        earlier = self._stored.get(self.section.section_id, [])
        self._attempt = earlier[0].attempt if earlier else 1
        self._verifying = bool(earlier)

    @property
    def section(self) -> TimelineSection:
        """The open section."""
        return self._timeline.sections[self._index]

    @property
    def next_frame(self) -> int:
        """The frame at which the next audio begins."""
        return self._first_buffered_frame + len(self._buffer) // self._frame_bytes

    @property
    def _first_buffered_frame(self) -> int:
        return self._made[-1].end_frame if self._made else self.section.first_frame

    async def write(self, audio: bytes) -> None:
        """Record whole frames from `next_frame` on; they may span several sections."""
        position = 0
        while position < len(audio):
            room = (self.section.end_frame - self.next_frame) * self._frame_bytes
            if not room:
                raise errors.InternalError(f"more audio came than the {self.section.end_frame} frames of the timeline")
            piece = audio[position : position + room]
            position += len(piece)
            self._buffer += piece
            await self._cut()
            if self.next_frame == self.section.end_frame and self._index + 1 < len(self._timeline.sections):
                self.open_section(self._index + 1)

    async def _cut(self) -> None:
        """Commit the segments that the buffer holds."""
        while True:
            first = self._first_buffered_frame
            longest = segment_length(self._stage, len(self._made), self._timeline.sample_rate)
            frames = min(longest, self.section.end_frame - first)
            length = frames * self._frame_bytes
            if frames == 0 or len(self._buffer) < length:
                return
            await self._commit(first, frames, bytes(memoryview(self._buffer)[:length]))
            del self._buffer[:length]

    async def _commit(self, first_frame: int, frames: int, audio: bytes) -> None:
        position = len(self._made)
        earlier = self._stored[self.section.section_id] if self._verifying else []
        if position < len(earlier):
            if _is_same(earlier[position], first_frame, audio):
                self._made.append(earlier[position])
                return
            announced = self._rewind()
        else:
            announced = None
        await self._store(first_frame, frames, audio, announced)

    def _rewind(self) -> stream_pb2.CompositionEvent:
        """Begin a new attempt of the open section, whose equal segments stay; return the event that announces it."""
        self._attempt += 1
        self._made = [replace(segment, attempt=self._attempt) for segment in self._made]
        self._verifying = False
        # Listeners drop all audio from the rewind on, the stored segments of later sections included.
        self._stored.clear()
        return stream_pb2.CompositionEvent(
            draft_rewound=stream_pb2.DraftRewound(
                first_frame=self.section.first_frame,
                section_id=self.section.section_id,
                attempt=self._attempt,
                stage=self._stage,
            )
        )

    async def _store(
        self, first_frame: int, frames: int, audio: bytes, rewound: stream_pb2.CompositionEvent | None
    ) -> None:
        """Append the audio to the artifact store, then its reference to the log."""
        stage = audio_pb2.Stage.Name(self._stage).removeprefix("STAGE_").lower()
        stream = self._claim.key(f"{stage}/{self._index:03d}-{self._attempt}")
        ref = await self._claim.artifacts.append(stream, audio)
        await failpoints.reach(BEFORE_SEGMENT_ROW)
        segment = Segment(
            stage=self._stage,
            section_id=self.section.section_id,
            take=self._take_key_of(self.section.section_id),
            attempt=self._attempt,
            first_frame=first_frame,
            frames=frames,
            sample_rate=self._timeline.sample_rate,
            channels=self._timeline.channels,
            ref=ref,
        )
        repeated = self._made if rewound is not None else []
        announced = [rewound] if rewound is not None else []
        await self._claim.journal.add_segments([*repeated, segment], before=announced)
        self._made.append(segment)
        self.has_new = True
        await failpoints.reach(AFTER_SEGMENT)


def _is_same(earlier: Segment, first_frame: int, audio: bytes) -> bool:
    return (
        earlier.first_frame == first_frame
        and earlier.ref.length == len(audio)
        and earlier.ref.sha256 == hashlib.sha256(audio).digest()
    )


def fold_segments(rows: Iterable[Event], stage: audio_pb2.Stage.ValueType, into: list[Segment]) -> None:
    """Apply log rows to the segments of one stage: a rewind drops the segments after it."""
    for row in rows:
        if row.kind == SEGMENT:
            segment = Segment.decode(row.payload)
            if segment.stage == stage:
                into.append(segment)
        elif row.kind == EVENT:
            event = stream_pb2.CompositionEvent.FromString(row.payload)
            if event.WhichOneof("event") == "draft_rewound" and event.draft_rewound.stage == stage:
                first = event.draft_rewound.first_frame
                into[:] = [segment for segment in into if segment.end_frame <= first]


async def recorded_segments(claim: Claim, stage: audio_pb2.Stage.ValueType, after: int = 0) -> list[Segment]:
    """Return the segments of one stage that the log has after a sequence."""
    found: list[Segment] = []
    while rows := await claim.store.read(claim.journal.name, after, READ_ROWS):
        fold_segments(rows, stage, found)
        after = rows[-1].sequence
    return found
