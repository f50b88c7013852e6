"""Files that appear only when they are complete, and a WAV file that grows while the music is made."""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from segue.audio.v1 import audio_pb2
from segue_client.events import BYTES_PER_SAMPLE
from segue_client.transport.stream_check import damaged

if TYPE_CHECKING:
    from collections.abc import Iterator

WAV_HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")
PCM: Final = 1
IEEE_FLOAT: Final = 3
UNKNOWN_LENGTH: Final = 0xFFFFFFFF


@contextlib.contextmanager
def atomic_file(target: Path, *, replace: bool) -> Iterator[PartialFile]:
    """Open a file that gets its name when `keep` is called; without `keep` no file remains."""
    refuse_existing(target, replace=replace)
    file = PartialFile(target)
    try:
        yield file
    finally:
        file.discard()


def refuse_existing(target: Path, *, replace: bool) -> None:
    """Raise FileExistsError when a file exists and `replace` is false."""
    if not replace and target.exists():
        raise FileExistsError(f"{target} already exists; replace=True overwrites it")


class PartialFile:
    """An unfinished file beside its target."""

    def __init__(self, target: Path) -> None:
        self._target = target
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        self._path = Path(name)
        self._file = os.fdopen(descriptor, "wb")
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The digest of the bytes so far, in hex."""
        return self._digest.hexdigest()

    def write(self, content: bytes) -> None:
        """Append bytes."""
        self._digest.update(content)
        self._file.write(content)

    def keep(self) -> None:
        """Give the file the name of its target."""
        self._file.flush()
        os.fsync(self._file.fileno())
        # mkstemp makes files that only the owner can read; this is an ordinary file.
        self._path.chmod(0o666 & ~_umask())
        self._path.replace(self._target)

    def discard(self) -> None:
        """Remove the file, unless it was kept."""
        # On a full disk, closing fails again for the rest of the buffer; the first error is the one to report.
        with contextlib.suppress(OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)


class GrowingWav:
    """A WAV file `target.part` that grows, is truncated by a rewind, and gets its final name when it is complete.

    Until then its header says that the length is unknown, so that players can play the growing file.
    """

    def __init__(self, target: Path, *, replace: bool) -> None:
        refuse_existing(target, replace=replace)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._target = target
        self.path = target.with_name(f"{target.name}.part")
        self._file: BinaryIO = self.path.open("wb")
        self._format: audio_pb2.AudioFormat | None = None
        self.frames = 0

    @property
    def _frame_bytes(self) -> int:
        return self._format.channels * BYTES_PER_SAMPLE[self._format.sample_format] if self._format else 0

    def append(self, chunk: audio_pb2.AudioChunk) -> None:
        """Write a chunk at its position, which is the end."""
        if self._format is None:
            if chunk.first_frame:
                # The stream was not watched from its start, so the audio before this chunk is missing.
                raise damaged(f"the audio begins at frame {chunk.first_frame}")
            self._format = chunk.format
            self._file.write(self._header(UNKNOWN_LENGTH))
        if chunk.first_frame != self.frames:
            raise damaged(f"frame {chunk.first_frame} does not follow the {self.frames} frames of the file")
        self._file.write(chunk.data)
        self._file.flush()
        self.frames += chunk.frames

    def rewind(self, first_frame: int) -> None:
        """Truncate the file: the audio from this frame on is replaced."""
        if self._format is not None and first_frame < self.frames:
            self.frames = first_frame
            self._file.seek(WAV_HEADER.size + first_frame * self._frame_bytes)
            self._file.truncate()

    def keep(self) -> None:
        """Write the length and give the file its final name."""
        if self._format is None:
            raise damaged("no audio was received")
        size = self.frames * self._frame_bytes
        if size % 2:
            self._file.write(b"\0")
        self._file.seek(0)
        self._file.write(self._header(size))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.path.replace(self._target)

    def close(self) -> None:
        """Close the file, and remove it unless it was kept."""
        with contextlib.suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)

    def _header(self, size: int) -> bytes:
        wanted = self._format or audio_pb2.AudioFormat()
        is_float = wanted.sample_format == audio_pb2.SAMPLE_FORMAT_F32LE
        riff = size if size == UNKNOWN_LENGTH else size + size % 2 + WAV_HEADER.size - 8
        return WAV_HEADER.pack(
            b"RIFF", riff, b"WAVE", b"fmt ", 16, IEEE_FLOAT if is_float else PCM, wanted.channels, wanted.sample_rate,
            wanted.sample_rate * self._frame_bytes, self._frame_bytes,
            8 * BYTES_PER_SAMPLE[wanted.sample_format], b"data", size,
        )  # fmt: skip


def _umask() -> int:
    # The mask can only be read by setting it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
