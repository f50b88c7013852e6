"""Whether an ONNX file is complete: weights in other files would be read from wherever the file says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PARTS: Final[Mapping[str, Mapping[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""The messages of the ONNX format (onnx.proto3) that contain tensors, by field number."""
EXTERNAL: Final = (13, 14)
"""The fields of a tensor that name another file."""
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_VARINT: Final = 10


def names_other_files(content: bytes) -> bool:
    """Return whether a tensor of an ONNX file is in another file; ValueError if it is no such file."""
    waiting = [("model", memoryview(content))]
    while waiting:
        kind, message = waiting.pop()
        for field, value in _fields(message):
            if kind == "tensor" and field in EXTERNAL:
                return True
            part = PARTS[kind].get(field)
            if part is not None and value is not None:
                waiting.append((part, value))
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    """Yield the number of each field, and the content of those with a length."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        field, kind = tag >> 3, tag & 7
        value = None
        if kind == VARINT:
            _, place = _varint(message, place)
        elif kind == BYTES:
            length, place = _varint(message, place)
            value = message[place : place + length]
            place += length
        elif kind in {FIXED32, FIXED64}:
            place += 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"byte {place} has a field of an unknown kind")
        if place > len(message):
            raise ValueError("it ends in the middle of a field")
        yield field, value


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    number = 0
    for count, byte in enumerate(message[place : place + MAX_VARINT]):
        number |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return number, place + count + 1
    raise ValueError(f"byte {place} begins a number that does not end")
