"""ID3v2.4 tags of MP3 and, in a chunk, of WAV: written and read."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from segue_audio.errors import UnreadableAudio
from segue_audio.files.provenance import unpack_xmp
from segue_audio.files.vorbis import MOST_TAGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from segue_audio.files.settings import Cue

_FRAMES_OF_TAGS = {
    "TITLE": "TIT2",
    "ARTIST": "TPE1",
    "ALBUM": "TALB",
    "GENRE": "TCON",
    "COPYRIGHT": "TCOP",
    "KEY": "TKEY",
    "ENCODER": "TSSE",
}
_TAGS_OF_FRAMES = {frame: tag for tag, frame in _FRAMES_OF_TAGS.items()}
_UTF8 = b"\x03"
_XMP_OWNER = b"XMP\0"
"""The owner of the PRIV frame that holds an XMP packet (XMP specification, part 3)."""
_MOST_LISTED_CHAPTERS = 255
"""The table of contents counts entries in one byte; later chapters are in the tag but not in the table."""


def pack_id3(
    tags: Mapping[str, str], cues: Sequence[Cue], *, sample_rate: int, total_frames: int, xmp: bytes = b""
) -> bytes:
    """Return a whole ID3v2.4 tag with chapters and an XMP packet."""
    frames = [_pack_text(name, text) for name, text in tags.items()]
    if xmp:
        frames.append(_frame("PRIV", _XMP_OWNER + xmp))
    for number, cue in enumerate(cues):
        end = cues[number + 1].first_frame if number + 1 < len(cues) else total_frames
        start_ms, end_ms = (round(frame * 1000 / sample_rate) for frame in (cue.first_frame, end))
        title = _frame("TIT2", _UTF8 + cue.label.encode())
        # No byte offsets: 0xFFFFFFFF means that the times apply.
        times = struct.pack(">IIII", start_ms, end_ms, 0xFFFFFFFF, 0xFFFFFFFF)
        frames.append(_frame("CHAP", b"chp%d\0" % number + times + title))
    if cues:
        listed = min(len(cues), _MOST_LISTED_CHAPTERS)
        children = b"".join(b"chp%d\0" % number for number in range(listed))
        frames.append(_frame("CTOC", b"toc\0" + bytes([0x03, listed]) + children))
    body = b"".join(frames)
    return b"ID3\x04\x00\x00" + _synchsafe(len(body)) + body


def unpack_id3(packed: bytes) -> dict[str, str]:
    """Read the text tags of an ID3v2.3 or 2.4 tag, and what its XMP packet says; other frames are skipped."""
    tags: dict[str, str] = {}
    of_xmp: dict[str, str] = {}
    for frame_id, body in _frames(packed):
        if frame_id == "TXXX":
            name, _, text = _decode(body).partition("\0")
            tags.setdefault(name.upper(), text.rstrip("\0"))
        elif frame_id == "COMM":
            _, _, text = _decode(body[:1] + body[4:]).partition("\0")
            tags.setdefault("COMMENT", text.rstrip("\0"))
        elif frame_id == "TBPM":
            tags.setdefault("BPM", _decode(body).rstrip("\0"))
        elif frame_id == "PRIV" and body.startswith(_XMP_OWNER):
            of_xmp |= unpack_xmp(body)
        elif frame_id in _TAGS_OF_FRAMES:
            tags.setdefault(_TAGS_OF_FRAMES[frame_id], _decode(body).rstrip("\0"))
    return of_xmp | tags


def id3_size(head: bytes) -> int:
    """Return the size of the tag that begins with these ten bytes, including them; 0 when there is no tag."""
    if len(head) < 10 or head[:3] != b"ID3":
        return 0
    return 10 + _from_synchsafe(head[6:10])


def _pack_text(name: str, text: str) -> bytes:
    if name in _FRAMES_OF_TAGS:
        return _frame(_FRAMES_OF_TAGS[name], _UTF8 + text.encode())
    if name == "COMMENT":
        return _frame("COMM", _UTF8 + b"eng" + b"\0" + text.encode())
    packed = _frame("TXXX", _UTF8 + name.encode() + b"\0" + text.encode())
    if name == "BPM":
        # TBPM holds integers only; the exact tempo is in TXXX, which is read first.
        packed += _frame("TBPM", _UTF8 + str(round(float(text))).encode())
    return packed


def _frame(frame_id: str, body: bytes) -> bytes:
    return frame_id.encode() + _synchsafe(len(body)) + b"\0\0" + body


def _frames(packed: bytes) -> Iterator[tuple[str, bytes]]:
    size = id3_size(packed[:10])
    if size == 0 or size > len(packed):
        raise UnreadableAudio("the ID3 tag is incomplete")
    is_v24 = packed[3] == 4
    position = 10
    for _ in range(MOST_TAGS):
        if position + 10 > size or packed[position] == 0:
            return
        raw_size = packed[position + 4 : position + 8]
        frame_size = _from_synchsafe(raw_size) if is_v24 else int.from_bytes(raw_size)
        body = packed[position + 10 : position + 10 + frame_size]
        if len(body) < frame_size:
            raise UnreadableAudio("the ID3 tag is incomplete")
        yield packed[position : position + 4].decode("latin-1"), body
        position += 10 + frame_size
    raise UnreadableAudio(f"the ID3 tag has more than {MOST_TAGS} frames")


def _decode(body: bytes) -> str:
    encoding = {0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}.get(body[0] if body else 3, "latin-1")
    return body[1:].decode(encoding, errors="replace")


def _synchsafe(number: int) -> bytes:
    return bytes((number >> shift) & 0x7F for shift in (21, 14, 7, 0))


def _from_synchsafe(packed: bytes) -> int:
    return sum((byte & 0x7F) << shift for byte, shift in zip(packed, (21, 14, 7, 0), strict=True))
