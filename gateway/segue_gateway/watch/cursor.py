"""The opaque position in a composition's stream that every response carries.

An audio segment of the log is sent as several messages. Its position is the last row that was sent completely, the
frames of the next row that were sent, and the attempt of that row: a cursor never continues on another take. The stamp
of the newest row of which anything was sent tells whether the log still has that row.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_runtime import errors

if TYPE_CHECKING:
    from segue_gateway.seal import Seal

_LAYOUT: Final = struct.Struct(">QIII")
_EARLIER_LAYOUT: Final = struct.Struct(">QII")
"""The layout of earlier releases, whose cursors have no stamp."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The position after a message."""

    sequence: int = 0
    """The last row that was sent completely."""
    frames: int = 0
    """The frames of the next row that were sent."""
    attempt: int = 0
    """The attempt of the next row."""
    stamp: int = 0
    """The stamp of the next row if frames of it were sent, else that of the last one; 0 if it is not known."""


START: Final = Cursor()


def encode(cursor: Cursor, composition: str, seal: Seal) -> str:
    """Return a cursor of one composition as text."""
    return seal.seal(_LAYOUT.pack(cursor.sequence, cursor.frames, cursor.attempt, cursor.stamp), _owned(composition))


def decode(text: str, composition: str, seal: Seal) -> Cursor:
    """Read a cursor; InvalidCursor if it is not one of this composition."""
    if not text:
        return START
    place = seal.open(text, _owned(composition))
    layout = next((each for each in (_LAYOUT, _EARLIER_LAYOUT) if place and each.size == len(place)), None)
    if place is None or layout is None:
        raise errors.InvalidCursor(
            "cursor: this server did not issue it for this composition; use a cursor of this composition's stream, or "
            "leave it empty to start at the first event"
        )
    return Cursor(*layout.unpack(place))


def _owned(composition: str) -> bytes:
    return b"cursor\0" + composition.encode()
