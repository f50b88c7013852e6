"""Cuts audio into segments on a fixed grid and commits each; after a restart: verify, skip, or rewind."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import stream_pb2
from segue_composition.log_rows import BYTES_PER_SAMPLE, EVENT, SEGMENT, Segment
from segue_runtime import errors, failpoints

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from segue.music.v1.music_pb2 import Plan
    from segue_conductor.journal import Journal
    from segue_conductor.render.take_store import Take
    from segue_runtime.artifacts import ArtifactStore
    from segue_runtime.store import Event, Store

FIRST_LENGTHS_S: Final = (0.1, 0.25, 0.5)
"""The first segments of a section are short, so that the first sound comes early; the rest have 1 s."""
AFTER_SEGMENT: Final = failpoints.declare("conductor.after_segment", "a segment is committed")
BEFORE_SEGMENT_ROW: Final = failpoints.declare("conductor.before_segment_row", "a segment is stored but not in the log")


@dataclass(frozen=True, slots=True)
class Place:
    """A section's place on the timeline, tail included for the last."""

    section_id: str
    first_frame: int
    frames: int

    @property
    def end_frame(self) -> int:
        """The frame after the last."""
        return self.first_frame + self.frames


def places_of(plan: Plan) -> tuple[Place, ...]:
    """Return where the sections of a plan stand; together they fill it without a gap."""
    return tuple(
        Place(item.spec.section_id, item.first_frame, item.spec.frames + item.spec.tail_frames)
        for item in plan.sections
    )


def segment_length(index: int, sample_rate: int) -> int:
    """Return the length in frames of a section's segment; it depends on nothing else, so digests can be compared."""
    seconds = FIRST_LENGTHS_S[index] if index < len(FIRST_LENGTHS_S) else 1.0
    return round(seconds * sample_rate)


class Recorder:
    """Takes contiguous audio of one stage from the start of a section on, and commits it segment by segment.

    `committed` are the segments that the log already has from there on. What comes out the same is skipped: watchers
    notice nothing. The first difference rewinds the section: a new attempt, from its start.
    """

    def __init__(
        self,
        journal: Journal,
        artifacts: ArtifactStore,
        stage: audio_pb2.Stage.ValueType,
        places: Sequence[Place],
        takes: Mapping[str, Take],
        committed: Iterable[Segment],
        *,
        sample_rate: int,
        channels: int,
    ) -> None:
        self._journal = journal
        self._artifacts = artifacts
        self._stage = stage
        self._places = places
        self._takes = takes
        self._sample_rate = sample_rate
        self._frame_bytes = channels * BYTES_PER_SAMPLE
        self._channels = channels
        self._committed: dict[str, list[Segment]] = {}
        for segment in committed:
            self._committed.setdefault(segment.section_id, []).append(segment)
        self._index = 0
        self._buffer = bytearray()
        self._made: list[Segment] = []
        self._attempt = 1
        self._verifying = False

    def open_section(self, index: int) -> None:
        """Begin a section of `places`; what was open is complete."""
        self._index = index
        self._made = []
        earlier = self._committed.get(self._places[index].section_id, [])
        self._attempt = earlier[0].attempt if earlier else 1
        self._verifying = bool(earlier)

    @property
    def place(self) -> Place:
        """The open section."""
        return self._places[self._index]

    @property
    def next_frame(self) -> int:
        """The frame that the next audio must begin with."""
        made = self._made[-1].end_frame if self._made else self.place.first_frame
        return made + len(self._buffer) // self._frame_bytes

    async def write(self, audio: bytes) -> None:
        """Take audio that goes on at next_frame; whole frames, possibly over several sections."""
        taken = 0
        while taken < len(audio):
            # Up to the end of the section at most.
            room = (self.place.end_frame - self.next_frame) * self._frame_bytes
            if not room:
                raise errors.InternalError(f"more sound came than the {self.place.end_frame} frames of the timeline")
            piece = audio[taken : taken + room]
            taken += len(piece)
            self._buffer += piece
            await self._cut()
            if self.next_frame == self.place.end_frame and self._index + 1 < len(self._places):
                self.open_section(self._index + 1)

    async def _cut(self) -> None:
        while True:
            first = self._made[-1].end_frame if self._made else self.place.first_frame
            frames = min(segment_length(len(self._made), self._sample_rate), self.place.end_frame - first)
            length = frames * self._frame_bytes
            if frames == 0 or len(self._buffer) < length:
                return
            await self._commit(first, frames, bytes(self._buffer[:length]))
            del self._buffer[:length]

    async def _commit(self, first_frame: int, frames: int, audio: bytes) -> None:
        position = len(self._made)
        if self._verifying:
            earlier = self._committed[self.place.section_id]
            if position < len(earlier) and self._same(earlier[position], first_frame, audio):
                self._made.append(earlier[position])
                return
        rewind: list[stream_pb2.CompositionEvent] = []
        again: list[Segment] = []
        if self._verifying and position < len(self._committed[self.place.section_id]):
            self._attempt += 1
            again = [replace(segment, attempt=self._attempt) for segment in self._made]
            self._made = list(again)
            rewind = [self._rewound()]
            self._verifying = False
            # Listeners drop all that lies behind the rewind: what later sections had committed is gone with it.
            self._committed.clear()
        section = f"{self._index:03d}-{self._attempt}"
        stream = f"{self._journal.name}/{audio_pb2.Stage.Name(self._stage)[6:].lower()}/{section}"
        ref = await self._artifacts.append(stream, audio)
        await failpoints.reach(BEFORE_SEGMENT_ROW)
        take = self._takes.get(self.place.section_id)
        segment = Segment(
            stage=self._stage,
            section_id=self.place.section_id,
            take=take.key if take else "",
            attempt=self._attempt,
            first_frame=first_frame,
            frames=frames,
            sample_rate=self._sample_rate,
            channels=self._channels,
            ref=ref,
        )
        await self._journal.add_segments([*again, segment], before=rewind)
        self._made.append(segment)
        await failpoints.reach(AFTER_SEGMENT)

    def _same(self, earlier: Segment, first_frame: int, audio: bytes) -> bool:
        return (
            earlier.first_frame == first_frame
            and earlier.ref.length == len(audio)
            and earlier.ref.sha256 == hashlib.sha256(audio).digest()
        )

    def _rewound(self) -> stream_pb2.CompositionEvent:
        return stream_pb2.CompositionEvent(
            draft_rewound=stream_pb2.DraftRewound(
                first_frame=self.place.first_frame,
                section_id=self.place.section_id,
                attempt=self._attempt,
                stage=self._stage,
            )
        )


def fold(rows: Iterable[Event], stage: audio_pb2.Stage.ValueType, into: list[Segment]) -> list[Segment]:
    """Apply log rows to the segments of one stage: rewinds drop what lies behind them."""
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
    return into


async def recorded(store: Store, name: str, stage: audio_pb2.Stage.ValueType, after: int = 0) -> list[Segment]:
    """Return what the log has of one stage after a sequence."""
    found: list[Segment] = []
    while rows := await store.read(name, after, 512):
        fold(rows, stage, found)
        after = rows[-1].sequence
    return found
