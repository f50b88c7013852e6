"""The rows of a composition's log: events of the contract, and references to audio segments."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from segue.composer.v1 import stream_pb2
from segue_runtime.artifacts import Ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.timestamp_pb2 import Timestamp

    from segue_runtime.store import Event, Progress

EVENT: Final = "event"
SEGMENT: Final = "segment"
BYTES_PER_SAMPLE: Final = 4
"""Segments are always F32LE."""
_LENGTH: Final = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Segment:
    """A range of frames of the draft or the master, kept in the artifact store."""

    stage: int
    section_id: str
    take: str
    attempt: int
    first_frame: int
    frames: int
    sample_rate: int
    channels: int
    ref: Ref

    @property
    def frame_bytes(self) -> int:
        """The bytes of one frame in the store."""
        return self.channels * BYTES_PER_SAMPLE

    @property
    def end_frame(self) -> int:
        """The frame after the last one."""
        return self.first_frame + self.frames

    def encode(self) -> bytes:
        """Return the payload of the log row."""
        content = asdict(self)
        content["ref"]["sha256"] = self.ref.sha256.hex()
        return json.dumps(content, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, payload: bytes) -> Segment:
        """Read the payload of a log row."""
        content = json.loads(payload)
        ref = content.pop("ref")
        digest = bytes.fromhex(ref.pop("sha256"))
        return cls(**content, ref=Ref(**ref, sha256=digest))

    def follows(self, earlier: Segment) -> bool:
        """Return whether this segment continues another one, so that one message can hold frames of both."""
        return (
            self.first_frame == earlier.end_frame
            and self.stage == earlier.stage
            and self.section_id == earlier.section_id
            and self.attempt == earlier.attempt
            and self.take == earlier.take
        )


def event_of(row: Event, composition: str) -> stream_pb2.CompositionEvent:
    """Read an event row, with its composition, sequence and time filled in."""
    event = stream_pb2.CompositionEvent.FromString(row.payload)
    event.composition = composition
    event.sequence = row.sequence
    set_time(event.event_time, row.time)
    return event


def pack(events: Iterable[stream_pb2.CompositionEvent]) -> bytes:
    """Encode several events as one value."""
    pieces = [event.SerializeToString() for event in events]
    return b"".join(_LENGTH.pack(len(piece)) + piece for piece in pieces)


def unpack(content: bytes) -> Iterator[stream_pb2.CompositionEvent]:
    """Decode the value that `pack` returned."""
    position = 0
    while position < len(content):
        (length,) = _LENGTH.unpack_from(content, position)
        position += _LENGTH.size
        yield stream_pb2.CompositionEvent.FromString(content[position : position + length])
        position += length


def waiting_for(progress: Progress) -> str:
    """Return the role that the conductor waits for: its progress contains a checkpoint as long as it waits."""
    checkpoints = [each.checkpoint for each in unpack(progress.payload) if each.HasField("checkpoint")]
    return checkpoints[-1].waiting_for if checkpoints else ""


def set_time(target: Timestamp, seconds: float) -> None:
    """Fill a timestamp from seconds since 1970."""
    target.seconds, target.nanos = divmod(round(seconds * 1e6) * 1000, 1_000_000_000)
