"""Vorbis comments, the tags of FLAC and Ogg Opus: written and read."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from segue_audio.errors import UnreadableAudio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue_audio.files.settings import Cue

MOST_TAGS = 10_000
"""Limit of tags in a file: a list of megabytes would be copied into every file made from it."""


def chapter_time(first_frame: int, sample_rate: int) -> str:
    """Return a position as HH:MM:SS.mmm."""
    milliseconds = (2 * 1000 * first_frame + sample_rate) // (2 * sample_rate)
    seconds, thousandths = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{thousandths:03d}"


def chapter_tags(cues: Sequence[Cue], sample_rate: int) -> dict[str, str]:
    """Return cue points as CHAPTERnnn tags for players, and exactly as CUE_FRAMES."""
    tags: dict[str, str] = {}
    for number, cue in enumerate(cues, start=1):
        tags[f"CHAPTER{number:03d}"] = chapter_time(cue.first_frame, sample_rate)
        tags[f"CHAPTER{number:03d}NAME"] = cue.label
    if cues:
        tags["CUE_FRAMES"] = " ".join(str(cue.first_frame) for cue in cues)
    return tags


def pack_comments(vendor: bytes, tags: Mapping[str, str]) -> bytes:
    """Encode a vendor string and tags."""
    packed = [struct.pack("<I", len(vendor)), vendor, struct.pack("<I", len(tags))]
    for name, text in tags.items():
        comment = f"{name}={text}".encode()
        packed += [struct.pack("<I", len(comment)), comment]
    return b"".join(packed)


def unpack_comments(packed: bytes) -> tuple[bytes, dict[str, str]]:
    """Read the vendor string and the tags; the first of two equal names counts."""
    try:
        vendor, position = _field(packed, 0)
        (count,) = struct.unpack_from("<I", packed, position)
        position += 4
        tags: dict[str, str] = {}
        if count > MOST_TAGS:
            raise UnreadableAudio(f"it claims {count} tags; the limit is {MOST_TAGS}")
        for _ in range(count):
            comment, position = _field(packed, position)
            name, _, text = comment.decode("utf-8", errors="replace").partition("=")
            tags.setdefault(name.upper(), text)
    except struct.error:
        raise UnreadableAudio("the tags are incomplete") from None
    return vendor, tags


def _field(packed: bytes, position: int) -> tuple[bytes, int]:
    (size,) = struct.unpack_from("<I", packed, position)
    end = position + 4 + size
    if end > len(packed):
        raise UnreadableAudio("the tags are incomplete")
    return packed[position + 4 : end], end
