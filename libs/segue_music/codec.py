"""Converts the dataclasses of `plan` to protobuf messages and canonical JSON, and back.

The two sides have the same field names, so one walk over the dataclass serves all messages: a `Duration` is an
integer of nanoseconds in a field that ends in `_ns`; a field with presence is `None` when absent.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration

from segue.music.v1 import music_pb2
from segue_music import plan as words
from segue_music.timing import NANOSECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

W = TypeVar("W")
M = TypeVar("M", bound="Message")


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    """How one dataclass field is read: its name in the message and the type of its value or items."""

    name: str
    wire_name: str
    item: type[Any]
    repeated: bool
    is_word: bool
    """Whether its values are dataclasses and not plain values."""


@cache
def _fields(word: Any) -> tuple[_Field, ...]:
    if not isinstance(word, type) or not dataclasses.is_dataclass(word):
        message = f"{word!r} is not a dataclass of segue_music"
        raise TypeError(message)
    hints = typing.get_type_hints(word)
    found: list[_Field] = []
    for field in dataclasses.fields(word):
        hint = hints[field.name]
        if isinstance(hint, types.UnionType):
            hint = next(option for option in typing.get_args(hint) if option is not type(None))
        repeated = typing.get_origin(hint) is tuple
        item = typing.get_args(hint)[0] if repeated else hint
        is_word = dataclasses.is_dataclass(item)
        found.append(_Field(field.name, field.name.removesuffix("_ns"), item, repeated, is_word))
    return tuple(found)


def from_message(word: type[W], message: Message) -> W:
    """Build a dataclass from its message. Unknown enum numbers raise ValueError; validation refuses them earlier."""
    values: dict[str, Any] = {}
    kind: Any = type(message)
    for field in _fields(cast("Any", word)):
        value = getattr(message, field.wire_name)
        if field.repeated:
            values[field.name] = tuple(_inward(field.item, item) for item in value)
        elif _presence(kind, field.wire_name) and not message.HasField(field.wire_name):
            values[field.name] = None
        else:
            values[field.name] = _inward(field.item, value)
    return word(**values)


def _inward(item: type[Any], value: Any) -> Any:
    if isinstance(value, Duration):
        return value.seconds * NANOSECONDS + value.nanos
    if dataclasses.is_dataclass(item):
        return from_message(item, value)
    return item(value) if issubclass(item, IntEnum) else value


def to_message(word: object, message: M) -> M:
    """Fill `message` from a dataclass and return it."""
    kind: Any = type(message)
    for field in _fields(cast("Any", type(word))):
        value = getattr(word, field.name)
        if value is None or (not value and _is_unsaid(value, presence=_presence(kind, field.wire_name))):
            continue
        if field.name != field.wire_name:
            duration = getattr(message, field.wire_name)
            duration.seconds, duration.nanos = divmod(value, NANOSECONDS)
        elif field.repeated and field.is_word:
            target = getattr(message, field.wire_name)
            for item in value:
                to_message(item, target.add())
        elif field.repeated:
            getattr(message, field.wire_name).extend(value)
        elif field.is_word:
            target = getattr(message, field.wire_name)
            target.SetInParent()
            to_message(value, target)
        else:
            setattr(message, field.wire_name, value)
    return message


@cache
def _presence(kind: Any, name: str) -> bool:
    return bool(kind.DESCRIPTOR.fields_by_name[name].has_presence)


def _is_unsaid(value: object, *, presence: bool) -> bool:
    """Tell whether a falsy value is left out of the message; a negative zero is not."""
    return value == () or not (presence or (isinstance(value, float) and str(value) == "-0.0"))


def plan_to_message(plan: words.Plan) -> music_pb2.Plan:
    """Encode a plan."""
    return to_message(plan, music_pb2.Plan())


def plan_from_message(message: music_pb2.Plan) -> words.Plan:
    """Decode a plan."""
    return from_message(words.Plan, message)


def section_to_message(spec: words.SectionSpec) -> music_pb2.SectionSpec:
    """Encode a section."""
    return to_message(spec, music_pb2.SectionSpec())


def section_from_message(message: music_pb2.SectionSpec) -> words.SectionSpec:
    """Decode a section."""
    return from_message(words.SectionSpec, message)


def canonical_json(message: Message) -> bytes:
    """Encode a message as sorted JSON: equal messages have equal bytes in every process and language."""
    content = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return _dump(content)


def plan_digest(plan: words.Plan) -> str:
    """Return the SHA-256 of the music in a plan, without version, readings and warnings.

    It is that of `canonical_json(plan_to_message(…))`, made without the message: a third of a plan's time otherwise.
    """
    bare = dataclasses.replace(plan, version=0, digest="", readings=(), warnings=())
    return hashlib.sha256(_dump(_plain(bare))).hexdigest()


def _dump(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def _plain(word: object) -> dict[str, object]:
    """Return a dataclass in canonical JSON, as the contract's mapping of messages to JSON defines it."""
    found: dict[str, object] = {}
    for name, presence, repeated, write in _writers(cast("Any", type(word))):
        value = getattr(word, name)
        if value is None or (not value and _is_unsaid(value, presence=presence)):
            continue
        found[name] = [write(item) for item in value] if repeated else write(value)
    return found


@cache
def _writers(word: Any) -> tuple[tuple[str, bool, bool, Callable[[Any], object]], ...]:
    """Return for each field its name, presence, repetition, and the function that converts a value to JSON."""
    wire = music_pb2.DESCRIPTOR.message_types_by_name[word.__name__].fields_by_name
    found: list[tuple[str, bool, bool, Callable[[Any], object]]] = []
    for field in _fields(word):
        kind: Any = wire[field.wire_name]
        by_type: dict[int, Callable[[Any], object]] = {
            kind.TYPE_INT64: str, kind.TYPE_DOUBLE: float, kind.TYPE_ENUM: _enum_writer(kind),
        }  # fmt: skip
        write = _plain if field.is_word else by_type.get(kind.type, _as_it_is)
        found.append((field.name, bool(kind.has_presence), field.repeated, write))
    return tuple(found)


def _enum_writer(kind: Any) -> Callable[[int], object]:
    names = {} if kind.enum_type is None else {each.number: each.name for each in kind.enum_type.values}
    return lambda number: names[number]


def _as_it_is(value: object) -> object:
    return value


def plan_to_json(plan: words.Plan) -> str:
    """Write a plan as JSON for people to edit."""
    return json_format.MessageToJson(plan_to_message(plan), preserving_proto_field_name=True, indent=2)


def plan_from_json(text: str) -> words.Plan:
    """Read a plan from JSON; raise json_format.ParseError with the position."""
    return plan_from_message(json_format.Parse(text, music_pb2.Plan(), max_recursion_depth=20))


def section_seed(piece_seed: int, section_id: str) -> int:
    """Return the seed of a section: the same wherever the section stands in the piece."""
    digest = hashlib.sha256(f"segue/section-seed/{piece_seed}/{section_id}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
