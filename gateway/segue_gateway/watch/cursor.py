"""The opaque position in a composition's stream that every response carries.

An audio segment of the log is sent as several messages. Its position is the last row that was sent completely, the
frames of the next row that were sent, and the attempt of that row: a cursor never continues on another take.
"""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass
from typing import Final

from segue_runtime import errors

VERSION: Final = 1
_LAYOUT: Final = struct.Struct(">BIqII")
_CHECKSUM: Final = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The position after a message."""

    sequence: int = 0
    """The last row that was sent completely."""
    frames: int = 0
    """The frames of the next row that were sent."""
    attempt: int = 0
    """The attempt of the next row."""


START: Final = Cursor()


def encode(cursor: Cursor, composition: str) -> str:
    """Return a cursor of one composition as text."""
    packed = _LAYOUT.pack(VERSION, _mark(composition), cursor.sequence, cursor.frames, cursor.attempt)
    return base64.urlsafe_b64encode(packed + _CHECKSUM.pack(zlib.crc32(packed))).decode()


def decode(text: str, composition: str) -> Cursor:
    """Read a cursor; InvalidCursor if it is not one of this composition."""
    if not text:
        return START
    try:
        raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        packed, checksum = raw[: _LAYOUT.size], _CHECKSUM.unpack(raw[_LAYOUT.size :])[0]
        version, mark, sequence, frames, attempt = _LAYOUT.unpack(packed)
    except (ValueError, struct.error) as error:
        raise _refused("it cannot be read") from error
    if checksum != zlib.crc32(packed) or version != VERSION or sequence < 0:
        raise _refused("it cannot be read")
    if mark != _mark(composition):
        raise _refused("it belongs to another composition")
    return Cursor(sequence, frames, attempt)


def _mark(composition: str) -> int:
    return zlib.crc32(composition.encode())


def _refused(reason: str) -> errors.SegueError:
    return errors.InvalidCursor(
        f"cursor: {reason}; use a cursor of this composition's stream, or leave it empty to start at the first event"
    )
