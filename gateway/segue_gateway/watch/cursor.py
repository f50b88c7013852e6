"""The opaque place in a composition's stream that every response carries.

An audio segment of the log is sent as several messages, so a place is the last row that was sent whole, the frames of
the next row that were sent already, and that row's attempt: a cursor can never be continued on another take.
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
    """The place after a message."""

    sequence: int = 0
    """The last row that was sent whole."""
    frames: int = 0
    """Frames of the next row that were sent already."""
    attempt: int = 0
    """That row's attempt; 0 when frames is 0."""


START: Final = Cursor()


def encode(cursor: Cursor, composition: str) -> str:
    """Write a cursor of one composition as text."""
    packed = _LAYOUT.pack(VERSION, _mark(composition), cursor.sequence, cursor.frames, cursor.attempt)
    return base64.urlsafe_b64encode(packed + _CHECKSUM.pack(zlib.crc32(packed))).decode()


def decode(text: str, composition: str) -> Cursor:
    """Read a cursor; raises InvalidCursor for what is not one of this composition."""
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


def _refused(why: str) -> errors.SegueError:
    return errors.InvalidCursor(
        f"cursor: {why}; use one that this composition's stream gave, or leave it empty to begin at the first event"
    )
