"""Tags in the pages of an Ogg Opus stream: added to an encoded file, and read."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from segue_audio.errors import UnreadableAudio
from segue_audio.files.vorbis import pack_comments, unpack_comments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HEAD = struct.Struct("<4sBBqIIIB")
_CONTINUED = 0x01
_SERIAL = 0x53454755
"""The stream number of all our files: the encoder's own depends on the clock, and output must not."""

_MIRROR = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_OPUS_TAGS = b"OpusTags"
_LARGEST_COMMENTS = 16 << 20


@dataclass(slots=True)
class _Page:
    flags: int
    granule: int
    lacing: bytes
    body: bytes

    def pack(self, sequence: int) -> bytes:
        """Encode the page with our stream number and its sequence number."""
        head = _HEAD.pack(b"OggS", 0, self.flags, self.granule, _SERIAL, sequence, 0, len(self.lacing))
        page = bytearray(head + self.lacing + self.body)
        page[22:26] = _crc(page).to_bytes(4, "little")
        return bytes(page)


def copy_with_tags(source: IO[bytes], target: IO[bytes], tags: Mapping[str, str]) -> None:
    """Copy an Ogg Opus file with new tags and our stream number."""
    pages = _pages(source)
    target.write(next(pages).pack(0))
    vendor = unpack_comments(_comment_packet(pages))[0]
    sequence = 1
    for page in _comment_pages(_OPUS_TAGS + pack_comments(vendor, tags)):
        target.write(page.pack(sequence))
        sequence += 1
    for page in pages:
        target.write(page.pack(sequence))
        sequence += 1


def read_tags(source: IO[bytes]) -> dict[str, str]:
    """Read the tags of an Ogg Opus file."""
    pages = _pages(source)
    if not next(pages).body.startswith(b"OpusHead"):
        raise UnreadableAudio("this Ogg file has no Opus stream")
    return unpack_comments(_comment_packet(pages))[1]


def _comment_packet(pages: Iterator[_Page]) -> bytes:
    """Join the second packet of the stream, which ends with its page (RFC 7845 section 3)."""
    packet = bytearray()
    for page in pages:
        packet += page.body
        if len(packet) > _LARGEST_COMMENTS or not page.lacing:
            raise UnreadableAudio("the Opus tags are too large, or a page of them is empty")
        if page.lacing[-1] < 255:
            break
    if not packet.startswith(_OPUS_TAGS):
        raise UnreadableAudio("the Opus tags are missing")
    return bytes(packet[len(_OPUS_TAGS) :])


def _comment_pages(packet: bytes) -> Iterator[_Page]:
    lacing = bytes([255]) * (len(packet) // 255) + bytes([len(packet) % 255])
    for start in range(0, len(lacing), 255):
        part = lacing[start : start + 255]
        body = packet[start * 255 : start * 255 + sum(part)]
        # A page without the end of a packet has no position.
        granule = 0 if start + 255 >= len(lacing) else -1
        yield _Page(_CONTINUED if start else 0, granule, part, body)


def _pages(source: IO[bytes]) -> Iterator[_Page]:
    while head := source.read(_HEAD.size):
        if len(head) < _HEAD.size or head[:4] != b"OggS":
            raise UnreadableAudio("this is not an Ogg file, or it is damaged")
        _, _, flags, granule, _, _, _, segments = _HEAD.unpack(head)
        lacing = source.read(segments)
        body = source.read(sum(lacing))
        if len(body) < sum(lacing):
            raise UnreadableAudio("the Ogg file is incomplete")
        yield _Page(flags, granule, lacing, body)


def _crc(page: bytes | bytearray) -> int:
    """Return Ogg's checksum (polynomial 0x04C11DB7, not reflected), from zlib's reflected one."""
    mirrored = zlib.crc32(bytes(page).translate(_MIRROR), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRROR))
