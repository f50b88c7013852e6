"""Checksums of blocks: a range of a segment or file is checked without reading the rest again."""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from typing import Final

import google_crc32c

CHECKED_BYTES: Final = 65_536
MAX_BLOCKS: Final = 1 << 19
"""The checksums that are kept at most: 2 MiB of memory for 32 GiB of content."""
MAX_CONTENTS: Final = 8192


class BlockChecksums:
    """The CRC-32C of each block of contents that matched their SHA-256 once; those used last are kept.

    The key is the SHA-256 itself. An entry can never be outdated, since it depends on nothing but the content.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, array[int]] = OrderedDict()
        self._num_blocks = 0
        self._lock = threading.Lock()

    def add(self, sha256: bytes, checksums: array[int]) -> None:
        """Keep the checksums of a content that matches this digest."""
        with self._lock:
            if sha256 in self._known:
                return
            self._known[sha256] = checksums
            self._num_blocks += len(checksums)
            while len(self._known) > 1 and (self._num_blocks > MAX_BLOCKS or len(self._known) > MAX_CONTENTS):
                _, oldest = self._known.popitem(last=False)
                self._num_blocks -= len(oldest)

    def get(self, sha256: bytes) -> array[int] | None:
        """Return the checksums, or None when the content must be compared with its digest first."""
        with self._lock:
            if sha256 in self._known:
                self._known.move_to_end(sha256)
            return self._known.get(sha256)


def block_range(start: int, length: int, size: int) -> tuple[int, int]:
    """Return start and end of the whole blocks that hold a range of a content."""
    end = -(-(start + length) // CHECKED_BYTES) * CHECKED_BYTES
    return start // CHECKED_BYTES * CHECKED_BYTES, min(end, size)


def checksums_of(content: bytes) -> array[int]:
    """Return the CRC-32C of each block; the last block may be shorter."""
    starts = range(0, len(content), CHECKED_BYTES)
    return array("I", (_crc32c(content[start : start + CHECKED_BYTES]) for start in starts))


def _crc32c(block: bytes) -> int:
    return int(google_crc32c.value(block))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
