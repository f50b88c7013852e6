"""The chunks of a RIFF file, with bounds: no size or offset in the file is believed before it is checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER_BYTES: Final = 8
MAX_CHUNKS: Final = 256


@dataclass(frozen=True)
class RiffChunk:
    """A chunk: its name, or the type of its list, and where its content is."""

    name: str
    first: int
    size: int

    @property
    def end(self) -> int:
        """The byte after the content."""
        return self.first + self.size


def invalid(name: str, what: str) -> errors.ModelInvalid:
    """Return the error for a font or pack that cannot be used."""
    return errors.ModelInvalid(f"{name}: {what}")


def chunks_of(file: BinaryIO, name: str, size: int) -> dict[str, RiffChunk]:
    """Return the chunks of a SoundFont by name; the lists INFO, sdta and pdta are opened."""
    head = _read(file, name, 0, 12)
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise invalid(name, "it is not a SoundFont: it does not begin with RIFF and sfbk")
    found: dict[str, RiffChunk] = {}
    for outer in _walk(file, name, 12, size):
        if outer.name != "LIST":
            continue
        kind = _read(file, name, outer.first, 4) if outer.size >= 4 else b""
        for inner in _walk(file, name, outer.first + 4, outer.end) if kind in {b"INFO", b"sdta", b"pdta"} else ():
            found.setdefault(inner.name, inner)
    return found


def _walk(file: BinaryIO, name: str, first: int, end: int) -> Iterator[RiffChunk]:
    position = first
    for _ in range(MAX_CHUNKS):
        if position + HEADER_BYTES > end:
            return
        head = _read(file, name, position, HEADER_BYTES)
        label = head[:4].decode("latin-1")
        size = int.from_bytes(head[4:], "little")
        if position + HEADER_BYTES + size > end:
            left = end - position - HEADER_BYTES
            raise invalid(name, f"chunk {label!r} at byte {position} says {size} bytes; {left} are left")
        yield RiffChunk(label, position + HEADER_BYTES, size)
        position += HEADER_BYTES + size
        # Some fonts leave out the padding byte after a chunk of odd size.
        if size % 2 and position + 4 < end and not _is_label(_read(file, name, position, 4)):
            position += 1
    raise invalid(name, f"it has more than {MAX_CHUNKS} chunks from byte {first} on")


def _is_label(label: bytes) -> bool:
    return all(letter in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz " for letter in label)


def _read(file: BinaryIO, name: str, first: int, size: int) -> bytes:
    file.seek(first)
    content = file.read(size)
    if len(content) < size:
        raise invalid(name, f"it ends at byte {first + len(content)}, within what begins at byte {first}")
    return content


def content_of(file: BinaryIO, name: str, chunk: RiffChunk, limit: int) -> bytes:
    """Return the content of a chunk that may have at most `limit` bytes."""
    if chunk.size > limit:
        raise invalid(name, f"chunk {chunk.name!r} at byte {chunk.first} has {chunk.size} bytes; at most {limit}")
    return _read(file, name, chunk.first, chunk.size)
