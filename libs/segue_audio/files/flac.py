"""Tags in the metadata blocks of FLAC: added to an encoded file, and read."""

from __future__ import annotations

import shutil
from typing import IO, TYPE_CHECKING

from segue_audio.errors import AudioTooLarge, UnreadableAudio
from segue_audio.files.vorbis import pack_comments, unpack_comments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_VORBIS_COMMENT = 4
_PADDING = 1
_LARGEST_BLOCK = (1 << 24) - 1
_MOST_BLOCKS = 1_000


def copy_with_tags(source: IO[bytes], target: IO[bytes], tags: Mapping[str, str]) -> None:
    """Copy a FLAC file with new tags."""
    vendor = b"segue"
    kept: list[tuple[int, bytes]] = []
    for kind, body in _blocks(source):
        if kind == _VORBIS_COMMENT:
            vendor = unpack_comments(body)[0]
        elif kind != _PADDING:
            kept.append((kind, body))
    comments = pack_comments(vendor, tags)
    if len(comments) > _LARGEST_BLOCK:
        raise AudioTooLarge(f"tags of {len(comments)} bytes; the limit of a FLAC file is {_LARGEST_BLOCK}")
    kept.append((_VORBIS_COMMENT, comments))
    target.write(b"fLaC")
    for index, (kind, body) in enumerate(kept):
        is_last = 0x80 if index == len(kept) - 1 else 0
        target.write(bytes([kind | is_last]) + len(body).to_bytes(3) + body)
    shutil.copyfileobj(source, target, 1 << 20)


def read_tags(source: IO[bytes]) -> dict[str, str]:
    """Read the tags of a FLAC file."""
    for kind, body in _blocks(source):
        if kind == _VORBIS_COMMENT:
            return unpack_comments(body)[1]
    return {}


def _blocks(source: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield each metadata block; afterwards `source` is at the first audio frame."""
    if source.read(4) != b"fLaC":
        raise UnreadableAudio("this is not a FLAC file")
    for _ in range(_MOST_BLOCKS):
        head = source.read(4)
        if len(head) < 4:
            raise UnreadableAudio("the FLAC metadata is incomplete")
        size = int.from_bytes(head[1:])
        body = source.read(size)
        if len(body) < size:
            raise UnreadableAudio("the FLAC metadata is incomplete")
        yield head[0] & 0x7F, body
        if head[0] & 0x80:
            return
    raise UnreadableAudio(f"the FLAC file has more than {_MOST_BLOCKS} metadata blocks")
