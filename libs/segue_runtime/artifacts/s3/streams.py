"""Segments in a bucket: each is one object at first, and neighbours are merged afterwards.

The objects of a stream are `STREAM/.WRITER/OFFSET`, and `STREAM/.WRITER/FIRST-END` when they are merged. Each opening
of a stream is a writer of its own, and objects are only created, never replaced: a conductor that has lost its lease
cannot change what its successor writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from segue_runtime import errors, logs
from segue_runtime.artifacts.base import ArtifactExists

if TYPE_CHECKING:
    from segue_runtime.artifacts.s3.bucket import Bucket

WRITER: Final = re.compile(r"(?P<stream>.+)/\.(?P<writer>[0-9a-f]{12})")
OBJECT: Final = re.compile(WRITER.pattern + r"/(?P<first>\d{12})(?:-(?P<end>\d{12}))?")
MERGED_OBJECTS: Final = 8
MERGED_BYTES: Final = 4 << 20
"""The unmerged segments of a stream are merged at this number or size."""
IDLE_S: Final = 2.0
"""And when none came for this long: the stream is probably complete."""
CLOSE_S: Final = 5.0
MAX_TAILS: Final = 64
MAX_LAYOUTS: Final = 4096
log = logs.get("artifacts")


@dataclass
class Tail:
    """The end of a stream that this process writes: the segments that are not merged yet, by their offsets."""

    stream: str
    writer: str = field(default_factory=lambda: secrets.token_hex(6))
    end: int = 0
    pieces: dict[int, bytes] = field(default_factory=dict[int, bytes])
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    merging: asyncio.Lock = field(default_factory=asyncio.Lock)
    timer: asyncio.TimerHandle | None = None

    @property
    def key(self) -> str:
        """The key of the refs of this writer."""
        return f"{self.stream}/.{self.writer}"

    @property
    def num_bytes(self) -> int:
        """The bytes that are not merged yet."""
        return sum(map(len, self.pieces.values()))

    def stop_timer(self) -> None:
        """Do not merge by time."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def start_again(self) -> None:
        """Forget all segments: they were deleted."""
        self.stop_timer()
        self.end = 0
        self.pieces = {}


class StreamObjects:
    """The streams of one bucket, as this process writes and reads them."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._tails: OrderedDict[str, Tail] = OrderedDict()
        self._layouts: OrderedDict[str, list[tuple[int, int]]] = OrderedDict()
        """The merged objects of each writer that was read: first byte and end."""
        self._merges: set[asyncio.Task[None]] = set()

    async def append(self, stream: str, payload: bytes) -> tuple[str, int]:
        """Add a segment durably; return its key and its offset."""
        tail = self._tail(stream)
        async with tail.lock:
            if not payload:
                return tail.key, tail.end
            try:
                await self._bucket.create(f"{tail.key}/{tail.end:012d}", payload)
            except ArtifactExists:
                # An earlier append of other bytes wrote it, although it seemed to fail: nothing refers to it.
                self._merge_soon(tail)
                tail = self._tails[stream] = Tail(stream)
                await self._bucket.create(f"{tail.key}/{tail.end:012d}", payload)
            key, offset = tail.key, tail.end
            tail.pieces[offset] = payload
            tail.end += len(payload)
        tail.stop_timer()
        is_full = len(tail.pieces) >= MERGED_OBJECTS or tail.num_bytes >= MERGED_BYTES
        if is_full and not tail.merging.locked():
            self._merge_soon(tail)
        else:
            tail.timer = asyncio.get_running_loop().call_later(IDLE_S, self._merge_soon, tail)
        return key, offset

    def _tail(self, stream: str) -> Tail:
        tail = self._tails.get(stream)
        if tail is None:
            tail = self._tails[stream] = Tail(stream)
        self._tails.move_to_end(stream)
        if len(self._tails) > MAX_TAILS:
            _, oldest = self._tails.popitem(last=False)
            self._merge_soon(oldest)
        return tail

    def _merge_soon(self, tail: Tail) -> None:
        tail.stop_timer()
        task = asyncio.get_running_loop().create_task(self._merge(tail))
        self._merges.add(task)
        task.add_done_callback(self._merges.discard)

    async def _merge(self, tail: Tail) -> None:
        """Write one object with the bytes of all unmerged segments, then delete theirs. Refs stay valid throughout."""
        async with tail.merging:
            pieces = dict(tail.pieces)
            if len(pieces) < 2:
                return
            first = min(pieces)
            end = first + sum(map(len, pieces.values()))
            merged = f"{tail.key}/{first:012d}-{end:012d}"
            try:
                await self._bucket.create(merged, b"".join(pieces.values()))
                if any(tail.pieces.get(offset) is not piece for offset, piece in pieces.items()):
                    await self._bucket.delete([merged])  # the stream was deleted meanwhile
                    return
                _drop(tail, pieces)
                if not await self._exists(f"{tail.key}/{first:012d}"):
                    await self._bucket.delete([merged])  # another process has deleted the stream
                    return
                await self._bucket.delete([f"{tail.key}/{offset:012d}" for offset in pieces])
            except errors.SegueError as error:  # the segments are durable; only the number of objects stays
                _drop(tail, pieces)
                log.warning("segments were not merged", reason=error.reason)

    async def _exists(self, name: str) -> bool:
        try:
            await self._bucket.head(name)
        except errors.ArtifactNotFound:
            return False
        return True

    async def read(self, key: str, offset: int, start: int, length: int) -> bytes:
        """Read a range of the segment at an offset; shorter when the object is."""
        with contextlib.suppress(errors.ArtifactNotFound):
            return await self._read_merged(key, offset, start, length)
        with contextlib.suppress(errors.ArtifactNotFound):
            return await self._bucket.get(f"{key}/{offset:012d}", start, length)
        # It was merged. A merged object exists before those that it replaces are deleted.
        names = map(OBJECT.fullmatch, (each.name for each in await self._bucket.list(key)))
        layout = [(int(name["first"]), int(name["end"])) for name in names if name and name["end"]]
        self._layouts[key] = layout
        self._layouts.move_to_end(key)
        if len(self._layouts) > MAX_LAYOUTS:
            self._layouts.popitem(last=False)
        return await self._read_merged(key, offset, start, length)

    async def _read_merged(self, key: str, offset: int, start: int, length: int) -> bytes:
        for first, end in self._layouts.get(key, []):
            if first <= offset < end:
                return await self._bucket.get(f"{key}/{first:012d}-{end:012d}", offset - first + start, length)
        raise errors.ArtifactNotFound(f"{key}: there is no segment at {offset}")

    def forget(self, prefix: str) -> None:
        """Forget the streams of a key or folder that is deleted."""
        for stream, tail in self._tails.items():
            if stream == prefix or stream.startswith(f"{prefix}/"):
                tail.start_again()
        for key in [key for key in self._layouts if key.startswith(f"{prefix}/")]:
            del self._layouts[key]

    async def close(self) -> None:
        """Merge what is left."""
        for tail in self._tails.values():
            self._merge_soon(tail)
        if self._merges:
            _, late = await asyncio.wait(self._merges, timeout=CLOSE_S)
            for task in late:
                task.cancel()


def _drop(tail: Tail, pieces: dict[int, bytes]) -> None:
    for offset in pieces:
        tail.pieces.pop(offset, None)
