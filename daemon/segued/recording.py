"""A composition's stream in a file: events with their times, and the files that it made.

The file is a header and frames. A frame is its kind, its length, a message of the contract and a CRC-32C of all three;
the last one counts the others, so that a file that was cut short is noticed. Whoever reads it trusts nothing in it.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import google_crc32c
from google.protobuf.message import DecodeError

from segue.composer.v1 import files_pb2, stream_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO, Protocol

    from segue.composer.v1.composition_pb2 import Output
    from segue.composer.v1.stream_pb2 import WatchCompositionResponse

    class Sink(Protocol):
        """Where a recording is written."""

        def write(self, content: bytes, /) -> object:
            """Append."""
            ...


MAGIC: Final = b"SEGUEREC"
VERSION: Final = 1
HEADER: Final = struct.Struct(">8sHHI")
FRAME: Final = struct.Struct(">BI")
CHECKSUM: Final = struct.Struct(">I")
COUNT: Final = struct.Struct(">Q")
END, EVENT, FILE = 0, 1, 2
MAX_PAYLOAD_BYTES: Final = 1 << 20
MAX_FRAMES: Final = 1_000_000
"""Half an hour of draft and master is some 21 000 chunks."""
MAX_FILES: Final = 64


class RecordingError(ValueError):
    """A file that is no recording, or a damaged one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where an event is, and what must be known of it without reading it."""

    offset: int
    size: int
    at_s: float
    """Since the first event."""
    cursor: str
    kind: str
    stage: int


@dataclass
class File:
    """An output, and where its pieces are."""

    output: Output
    pieces: list[tuple[int, int, int]] = field(default_factory=list)
    """Place in the output, place in the recording, size of the message."""
    size: int = 0


class Writer:
    """Writes frames one after the other."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.num_frames = 0
        head = HEADER.pack(MAGIC, VERSION, 0, 0)[: -CHECKSUM.size]
        sink.write(head + CHECKSUM.pack(google_crc32c.value(head)))

    def event(self, cursor: str, event: stream_pb2.CompositionEvent) -> None:
        """Write an event."""
        self._frame(EVENT, stream_pb2.WatchCompositionResponse(cursor=cursor, event=event).SerializeToString())

    def file(self, piece: files_pb2.DownloadArtifactResponse) -> None:
        """Write a piece of a file; the first one has the output and no data."""
        self._frame(FILE, piece.SerializeToString())

    def end(self) -> None:
        """Close the recording."""
        self._frame(END, COUNT.pack(self.num_frames))

    def _frame(self, kind: int, payload: bytes) -> None:
        head = FRAME.pack(kind, len(payload))
        self._sink.write(head)
        self._sink.write(payload)
        self._sink.write(CHECKSUM.pack(google_crc32c.extend(google_crc32c.value(head), payload)))
        self.num_frames += 1


class Recording:
    """A recording that was read through and checked once; its messages stay in the file."""

    def __init__(self, path: Path) -> None:
        self.entries: list[Entry] = []
        self.files: dict[str, File] = {}
        self.name = ""
        self._file: BinaryIO = path.open("rb")
        self._file_name = ""
        self._began_s = 0.0
        try:
            self._index()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def event(self, entry: Entry) -> WatchCompositionResponse:
        """Read an event."""
        return stream_pb2.WatchCompositionResponse.FromString(os.pread(self._file.fileno(), entry.size, entry.offset))

    def piece(self, place: tuple[int, int, int]) -> files_pb2.DownloadArtifactResponse:
        """Read a piece of a file."""
        _, offset, size = place
        return files_pb2.DownloadArtifactResponse.FromString(os.pread(self._file.fileno(), size, offset))

    def _index(self) -> None:
        for kind, offset, payload in _frames(self._file):
            try:
                if kind == EVENT:
                    self._add_event(offset, payload)
                else:
                    self._add_piece(offset, payload)
            except DecodeError as error:
                raise RecordingError(f"byte {offset}: this is no message of the contract") from error
        if not self.entries or self.entries[-1].kind != "finished":
            raise RecordingError("the composition has no end; record it again when it has one")
        for name, file in self.files.items():
            if file.size != file.output.size_bytes:
                raise RecordingError(f"{name} has {file.size} of {file.output.size_bytes} bytes")

    def _add_event(self, offset: int, payload: bytes) -> None:
        message = stream_pb2.WatchCompositionResponse.FromString(payload)
        kind = message.event.WhichOneof("event") or ""
        time = message.event.event_time
        moment_s = time.seconds + time.nanos / 1e9
        if not self.entries:
            if kind != "accepted":
                raise RecordingError(f"byte {offset}: it begins with {kind or 'an unknown event'}, not with accepted")
            self.name, self._began_s = message.event.composition, moment_s
        elif self.entries[-1].kind == "finished":
            raise RecordingError(f"byte {offset}: something happens after the end")
        if message.event.composition != self.name or not message.cursor:
            raise RecordingError(f"byte {offset}: an event of another composition, or without a cursor")
        # Clocks may go back between two conductors; a replay does not.
        at_s = max(moment_s - self._began_s, self.entries[-1].at_s if self.entries else 0.0)
        stage = message.event.audio.stage if kind == "audio" else 0
        self.entries.append(Entry(offset, len(payload), at_s, message.cursor, kind, stage))

    def _add_piece(self, offset: int, payload: bytes) -> None:
        message = files_pb2.DownloadArtifactResponse.FromString(payload)
        if message.HasField("output"):
            name = message.output.name
            if name in self.files or len(self.files) >= MAX_FILES or not name.startswith(f"{self.name}/outputs/"):
                raise RecordingError(f"byte {offset}: {name!r} is no output of {self.name}, or comes twice")
            self._file_name, self.files[name] = name, File(message.output)
            return
        file = self.files.get(self._file_name)
        if file is None or message.offset != file.size or not message.data:
            raise RecordingError(f"byte {offset}: a piece of a file that does not follow the one before")
        if google_crc32c.value(message.data) != message.crc32c:
            raise RecordingError(f"byte {offset}: a piece of {self._file_name} is damaged")
        file.pieces.append((message.offset, offset, len(payload)))
        file.size += len(message.data)


def _frames(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Yield kind, place and payload of each frame but the last, which ends it."""
    _check_header(file.read(HEADER.size))
    for count in range(MAX_FRAMES):
        at = file.tell()
        head = file.read(FRAME.size)
        if len(head) < FRAME.size:
            raise RecordingError(f"byte {at}: the recording was cut short")
        kind, size = FRAME.unpack(head)
        if kind not in {END, EVENT, FILE} or size > MAX_PAYLOAD_BYTES:
            raise RecordingError(f"byte {at}: this is no frame of a recording")
        payload, checksum = file.read(size), file.read(CHECKSUM.size)
        if len(checksum) < CHECKSUM.size:
            raise RecordingError(f"byte {at}: the recording was cut short")
        if CHECKSUM.pack(google_crc32c.extend(google_crc32c.value(head), payload)) != checksum:
            raise RecordingError(f"byte {at}: the recording is damaged here")
        if kind == END:
            if payload != COUNT.pack(count):
                raise RecordingError(f"byte {at}: frames are missing")
            if file.read(1):
                raise RecordingError(f"byte {file.tell() - 1}: something follows the end")
            return
        yield kind, at + FRAME.size, payload
    raise RecordingError(f"it has more than {MAX_FRAMES} frames")


def _check_header(head: bytes) -> None:
    if len(head) < HEADER.size or not head.startswith(MAGIC):
        raise RecordingError("this is no recording; `segued record NAME -o FILE` makes one")
    _, version, _, checksum = HEADER.unpack(head)
    if google_crc32c.value(head[: -CHECKSUM.size]) != checksum:
        raise RecordingError("byte 0: the recording is damaged here")
    if version != VERSION:
        raise RecordingError(f"it has version {version}; this release reads version {VERSION}")
