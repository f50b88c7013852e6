"""What stands in a composition's log: events as the contract writes them, and references to audio segments."""

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

    from segue_runtime.store import Event

EVENT: Final = "event"
SEGMENT: Final = "segment"
BYTES_PER_SAMPLE: Final = 4
"""Segments are always F32LE."""
_LENGTH: Final = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of frames of the draft or the master, kept in the artifact store."""

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
        """How many bytes one frame has in the store."""
        return self.channels * BYTES_PER_SAMPLE

    @property
    def end_frame(self) -> int:
        """The frame after the last."""
        return self.first_frame + self.frames

    def encode(self) -> bytes:
        """Write it as a log row's payload."""
        content = asdict(self)
        content["ref"]["sha256"] = self.ref.sha256.hex()
        return json.dumps(content, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, payload: bytes) -> Segment:
        """Read it from a log row's payload."""
        content = json.loads(payload)
        ref = content.pop("ref")
        digest = bytes.fromhex(ref.pop("sha256"))
        return cls(**content, ref=Ref(**ref, sha256=digest))

    def follows(self, earlier: Segment) -> bool:
        """Return whether both can be sent in one message."""
        return (
            self.first_frame == earlier.end_frame
            and self.stage == earlier.stage
            and self.section_id == earlier.section_id
            and self.attempt == earlier.attempt
            and self.take == earlier.take
        )


def event_of(row: Event, composition: str) -> stream_pb2.CompositionEvent:
    """Read an event row and give it its name, place and time."""
    event = stream_pb2.CompositionEvent.FromString(row.payload)
    event.composition = composition
    event.sequence = row.sequence
    set_time(event.event_time, row.time)
    return event


def pack(events: Iterable[stream_pb2.CompositionEvent]) -> bytes:
    """Write several events as one value."""
    pieces = [event.SerializeToString() for event in events]
    return b"".join(_LENGTH.pack(len(piece)) + piece for piece in pieces)


def unpack(content: bytes) -> Iterator[stream_pb2.CompositionEvent]:
    """Read what `pack` wrote."""
    place = 0
    while place < len(content):
        (length,) = _LENGTH.unpack_from(content, place)
        place += _LENGTH.size
        yield stream_pb2.CompositionEvent.FromString(content[place : place + length])
        place += length


def set_time(target: Timestamp, seconds: float) -> None:
    """Fill a timestamp from seconds since 1970."""
    target.seconds, target.nanos = divmod(round(seconds * 1e6) * 1000, 1_000_000_000)
