"""The file format of recordings: the events of a composition with their times, and its output files.

A recording is a header and frames. A frame has a kind, a length, a message of the contract and a CRC-32C of all three.
The last frame contains the number of the others, so that a truncated file is detected. The reader trusts nothing in it.
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

    class ByteSink(Protocol):
        """Receives the bytes of a recording."""

        def write(self, content: bytes, /) -> object:
            """Append bytes."""
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
"""Draft and master of half an hour are about 21 000 chunks."""
MAX_FILES: Final = 64


class RecordingError(ValueError):
    """A file that is not a recording, or a damaged recording."""


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """The position of an event, and the fields that a replay needs before it reads the event."""

    offset: int
    size: int
    at_s: float
    """Seconds since the first event."""
    cursor: str
    kind: str
    stage: int


@dataclass
class RecordedFile:
    """An output, and the positions of its pieces."""

    output: Output
    pieces: list[tuple[int, int, int]] = field(default_factory=list)
    """Offset in the output, offset in the recording, size of the message."""
    size: int = 0


class RecordingWriter:
    """Writes a recording."""

    def __init__(self, sink: ByteSink) -> None:
        self._sink = sink
        self.num_frames = 0
        head = HEADER.pack(MAGIC, VERSION, 0, 0)[: -CHECKSUM.size]
        sink.write(head + CHECKSUM.pack(google_crc32c.value(head)))

    def event(self, cursor: str, event: stream_pb2.CompositionEvent) -> None:
        """Write an event."""
        self._frame(EVENT, stream_pb2.WatchCompositionResponse(cursor=cursor, event=event).SerializeToString())

    def file(self, piece: files_pb2.DownloadArtifactResponse) -> None:
        """Write a piece of a file; the first piece has the output and no data."""
        self._frame(FILE, piece.SerializeToString())

    def end(self) -> None:
        """Write the last frame."""
        self._frame(END, COUNT.pack(self.num_frames))

    def _frame(self, kind: int, payload: bytes) -> None:
        head = FRAME.pack(kind, len(payload))
        self._sink.write(head)
        self._sink.write(payload)
        self._sink.write(CHECKSUM.pack(google_crc32c.extend(google_crc32c.value(head), payload)))
        self.num_frames += 1


class Recording:
    """A recording, checked from end to end when it is opened; its messages stay in the file."""

    def __init__(self, path: Path) -> None:
        self.events: list[RecordedEvent] = []
        self.files: dict[str, RecordedFile] = {}
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

    def event(self, recorded: RecordedEvent) -> WatchCompositionResponse:
        """Read an event."""
        return stream_pb2.WatchCompositionResponse.FromString(
            os.pread(self._file.fileno(), recorded.size, recorded.offset)
        )

    def piece(self, position: tuple[int, int, int]) -> files_pb2.DownloadArtifactResponse:
        """Read a piece of a file."""
        _, offset, size = position
        return files_pb2.DownloadArtifactResponse.FromString(os.pread(self._file.fileno(), size, offset))

    def _index(self) -> None:
        for kind, offset, payload in _frames(self._file):
            try:
                if kind == EVENT:
                    self._add_event(offset, payload)
                else:
                    self._add_piece(offset, payload)
            except DecodeError as error:
                raise RecordingError(f"byte {offset}: this is not a message of the contract") from error
        if not self.events or self.events[-1].kind != "finished":
            raise RecordingError("the composition has not ended; record it again when it has")
        for name, file in self.files.items():
            if file.size != file.output.size_bytes:
                raise RecordingError(f"{name} has {file.size} of {file.output.size_bytes} bytes")

    def _add_event(self, offset: int, payload: bytes) -> None:
        message = stream_pb2.WatchCompositionResponse.FromString(payload)
        kind = message.event.WhichOneof("event") or ""
        time = message.event.event_time
        moment_s = time.seconds + time.nanos / 1e9
        if not self.events:
            if kind != "accepted":
                raise RecordingError(f"byte {offset}: the first event is {kind or 'unknown'}, not accepted")
            self.name, self._began_s = message.event.composition, moment_s
        elif self.events[-1].kind == "finished":
            raise RecordingError(f"byte {offset}: an event follows the end")
        if message.event.composition != self.name or not message.cursor:
            raise RecordingError(f"byte {offset}: an event of another composition, or without a cursor")
        # The clocks of two conductors may differ; the time of a replay never goes back.
        at_s = max(moment_s - self._began_s, self.events[-1].at_s if self.events else 0.0)
        stage = message.event.audio.stage if kind == "audio" else 0
        self.events.append(RecordedEvent(offset, len(payload), at_s, message.cursor, kind, stage))

    def _add_piece(self, offset: int, payload: bytes) -> None:
        message = files_pb2.DownloadArtifactResponse.FromString(payload)
        if message.HasField("output"):
            name = message.output.name
            if name in self.files or len(self.files) >= MAX_FILES or not name.startswith(f"{self.name}/outputs/"):
                raise RecordingError(f"byte {offset}: {name!r} is not an output of {self.name}, or is repeated")
            self._file_name, self.files[name] = name, RecordedFile(message.output)
            return
        file = self.files.get(self._file_name)
        if file is None or message.offset != file.size or not message.data:
            raise RecordingError(f"byte {offset}: a piece of a file that does not follow the previous one")
        if google_crc32c.value(message.data) != message.crc32c:
            raise RecordingError(f"byte {offset}: a piece of {self._file_name} is damaged")
        file.pieces.append((message.offset, offset, len(payload)))
        file.size += len(message.data)


def _frames(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Yield kind, offset and payload of each frame except the last one."""
    _check_header(file.read(HEADER.size))
    for count in range(MAX_FRAMES):
        at = file.tell()
        head = file.read(FRAME.size)
        if len(head) < FRAME.size:
            raise RecordingError(f"byte {at}: the recording is truncated")
        kind, size = FRAME.unpack(head)
        if kind not in {END, EVENT, FILE} or size > MAX_PAYLOAD_BYTES:
            raise RecordingError(f"byte {at}: this is not a frame of a recording")
        payload, checksum = file.read(size), file.read(CHECKSUM.size)
        if len(checksum) < CHECKSUM.size:
            raise RecordingError(f"byte {at}: the recording is truncated")
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
        raise RecordingError("this is not a recording; `segued record NAME -o FILE` makes one")
    _, version, _, checksum = HEADER.unpack(head)
    if google_crc32c.value(head[: -CHECKSUM.size]) != checksum:
        raise RecordingError("byte 0: the recording is damaged here")
    if version != VERSION:
        raise RecordingError(f"it has version {version}; this release reads version {VERSION}")
