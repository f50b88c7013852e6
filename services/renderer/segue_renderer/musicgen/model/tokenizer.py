"""T5's tokenizer: SentencePiece's unigram model, from `spiece.model` or `tokenizer.json`, without their libraries."""

from __future__ import annotations

import base64
import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from segue_renderer.musicgen.checkpoint import files
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPACE: Final = "\u2581"
UNKNOWN_PENALTY: Final = 10.0
"""An unknown character scores this much below the worst piece, as in SentencePiece."""
NORMAL, UNKNOWN, CONTROL = 1, 2, 3


@dataclass(frozen=True)
class Charsmap:
    """SentencePiece's table of replacements: a double-array trie over UTF-8, and the replacement texts."""

    units: tuple[int, ...]
    texts: bytes

    @classmethod
    def read(cls, blob: bytes) -> Charsmap:
        """Split the blob: the trie's size, the trie, and texts that each end in a zero byte."""
        (size,) = struct.unpack_from("<I", blob)
        return cls(struct.unpack_from(f"<{size // 4}I", blob, 4), blob[4 + size :])

    def apply(self, text: str) -> str:
        """Replace the longest matches from left to right."""
        source = text.encode()
        found = bytearray()
        position = 0
        while position < len(source):
            length, value = self._longest(source, position)
            if length:
                found += self.texts[value : self.texts.index(0, value)]
            else:
                first = source[position]
                length = 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
                found += source[position : position + length]
            position += length
        return found.decode(errors="replace")

    def _longest(self, source: bytes, start: int) -> tuple[int, int]:
        best = (0, 0)
        node = self._offset(self.units[0]) if self.units else 0
        for index in range(start, len(source)):
            node ^= source[index]
            if node >= len(self.units) or self.units[node] & 0x8000_00FF != source[index]:
                break
            has_value = self.units[node] >> 8 & 1
            node ^= self._offset(self.units[node])
            if has_value:
                best = (index + 1 - start, self.units[node] & 0x7FFF_FFFF)
        return best

    @staticmethod
    def _offset(unit: int) -> int:
        return (unit >> 10) << ((unit & 0x200) >> 6)


@dataclass
class Tokenizer:
    """Splits a text into its most probable pieces."""

    scores: dict[str, tuple[int, float]]
    unknown: int
    end: int
    num_tokens: int
    """The size of the vocabulary, special tokens included."""
    charsmap: Charsmap | None = None
    longest: int = field(init=False)
    floor: float = field(init=False)

    def __post_init__(self) -> None:
        self.longest = max((len(piece) for piece in self.scores), default=1)
        self.floor = min((score for _, score in self.scores.values()), default=0.0) - UNKNOWN_PENALTY

    @classmethod
    def open(cls, folder: Path) -> Tokenizer:
        """Read a folder's tokenizer."""
        path = file_of(folder)
        try:
            return (
                _from_json(files.read_json(path)) if path.suffix == ".json" else _from_sentencepiece(path.read_bytes())
            )
        except (struct.error, IndexError, KeyError, TypeError, ValueError) as error:
            raise errors.ModelInvalid(f"{folder}: its tokenizer cannot be read: {error}") from error

    def check_size(self, entries: int, folder: Path) -> None:
        """Refuse a tokenizer that has more tokens than the text encoder of its folder has entries."""
        if self.num_tokens > entries:
            raise errors.ModelInvalid(
                f"{folder}: its tokenizer has {self.num_tokens} tokens, its text encoder {entries}; the tokenizer is "
                "another model's"
            )

    def encode(self, text: str, limit: int) -> tuple[list[int], bool]:
        """Return at most `limit` tokens, including the end token, and whether the text was cut."""
        pieces = self._viterbi(self._normalise(text))
        cut = len(pieces) > limit - 1
        return [*pieces[: limit - 1], self.end], cut

    def _normalise(self, text: str) -> str:
        if self.charsmap is not None:
            text = self.charsmap.apply(text)
        words = text.split(" ")
        return "".join(SPACE + word for word in words if word)

    def _viterbi(self, text: str) -> list[int]:
        best = [0.0] + [-math.inf] * len(text)
        origin: list[tuple[int, int]] = [(0, self.unknown)] * (len(text) + 1)
        for start in range(len(text)):
            if text[start] not in self.scores and best[start] + self.floor > best[start + 1]:
                best[start + 1], origin[start + 1] = best[start] + self.floor, (start, self.unknown)
            for end in range(start + 1, min(len(text), start + self.longest) + 1):
                found = self.scores.get(text[start:end])
                if found is not None and best[start] + found[1] > best[end]:
                    best[end], origin[end] = best[start] + found[1], (start, found[0])
        return list(self._back(origin, len(text)))[::-1]

    def _back(self, origin: list[tuple[int, int]], end: int) -> Iterator[int]:
        last = -1
        while end > 0:
            end, token = origin[end]
            # A run of unknown characters is one token.
            if token != self.unknown or last != self.unknown:
                yield token
            last = token


def file_of(folder: Path) -> Path:
    """Return the file of a folder's tokenizer."""
    for name in ("spiece.model", "tokenizer.json"):
        if (folder / name).is_file():
            return folder / name
    raise errors.ModelInvalid(f"{folder}: it has no tokenizer; spiece.model or tokenizer.json must be there")


def _from_json(content: dict[str, Any]) -> Tokenizer:
    model = content["model"]
    if model["type"] != "Unigram":
        raise ValueError(f"it is a {model['type']} model; T5 uses Unigram")
    special = {int(token["id"]) for token in content.get("added_tokens", [])}
    scores = {
        piece: (index, float(score)) for index, (piece, score) in enumerate(model["vocab"]) if index not in special
    }
    end = next(index for index, (piece, _) in enumerate(model["vocab"]) if piece == "</s>")
    normalizer = content.get("normalizer") or {}
    steps = normalizer.get("normalizers", [normalizer])
    charsmap = next((step["precompiled_charsmap"] for step in steps if step.get("type") == "Precompiled"), None)
    table = Charsmap.read(base64.b64decode(charsmap)) if charsmap else None
    return Tokenizer(scores, int(model["unk_id"]), end, len(model["vocab"]), table)


def _from_sentencepiece(blob: bytes) -> Tokenizer:
    """Read the pieces (field 1) and the normaliser's table (field 3, in it field 2) of a ModelProto."""
    scores: dict[str, tuple[int, float]] = {}
    unknown = end = index = 0
    charsmap = None
    for number, value in _fields(blob):
        if number == 1 and isinstance(value, bytes):
            piece, score, kind = _piece(value)
            if kind == NORMAL:
                scores[piece] = (index, score)
            unknown = index if kind == UNKNOWN else unknown
            end = index if kind == CONTROL and piece == "</s>" else end
            index += 1
        elif number == 3 and isinstance(value, bytes):
            table = next((content for inner, content in _fields(value) if inner == 2), b"")
            charsmap = Charsmap.read(table) if isinstance(table, bytes) and table else None
    if not scores:
        raise ValueError("it has no pieces")
    return Tokenizer(scores, unknown, end, index, charsmap)


def _piece(blob: bytes) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, NORMAL
    for number, content in _fields(blob):
        if number == 1 and isinstance(content, bytes):
            text = content.decode()
        elif number == 2 and isinstance(content, bytes):
            (score,) = struct.unpack("<f", content)
        elif number == 3 and isinstance(content, int):
            kind = content
    return text, score, kind


def _fields(blob: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field of a protobuf message."""
    position = 0
    while position < len(blob):
        tag, position = _varint(blob, position)
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value, position = _varint(blob, position)
        elif kind in {1, 5}:
            size = 8 if kind == 1 else 4
            value, position = blob[position : position + size], position + size
        elif kind == 2:
            size, position = _varint(blob, position)
            if position + size > len(blob):
                raise ValueError("it is cut short")
            value, position = blob[position : position + size], position + size
        else:
            raise ValueError("it is not protobuf")
        yield tag >> 3, value


def _varint(blob: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = blob[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
