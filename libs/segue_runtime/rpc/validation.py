"""Validates messages by the rules of the contract (protovalidate), and suggests valid values."""

from __future__ import annotations

import json
import math
import re
import uuid
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import protovalidate
from google.protobuf.message import Message

from segue_runtime.errors import FieldViolation, InvalidField, MalformedRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.descriptor import Descriptor
    from protovalidate import Violation

    from segue_runtime.errors import SegueError

MessageT = TypeVar("MessageT")
DURATION = "google.protobuf.Duration"
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
INTEGERS = ("int", "uint", "sint", "fixed", "sfixed")
MAX_NAMES = 4
MAX_SHOWN = 48
MAX_DESCRIBED = 20
"""The number of broken rules that are described; the others are counted."""
MAX_SEARCHED_BYTES = 16 << 10
"""In a longer message only the first broken rule is searched: a megabyte can break half a million, at 17 us each."""


_validator = protovalidate.Validator()


def check(message: object, *, may_hold_nul: bool = True) -> None:
    """Raise InvalidField with the broken rules of a message, or with the first one of a long message."""
    if not isinstance(message, Message):
        return
    broken = _validator.collect_violations(message, fail_fast=True)
    if broken and message.ByteSize() <= MAX_SEARCHED_BYTES:
        broken = _validator.collect_violations(message)
    violations = [describe(each, message) for each in broken[:MAX_DESCRIBED]]
    count = len(broken)
    if count < MAX_DESCRIBED and may_hold_durations(message.DESCRIPTOR):
        durations = list(islice(malformed_durations(message), MAX_DESCRIBED - count))
        violations += durations
        count += len(durations)
    if may_hold_nul and count < MAX_DESCRIBED:
        texts = list(islice(texts_with_nul(message), MAX_DESCRIBED - count))
        violations += texts
        count += len(texts)
    if violations:
        first = violations[0]
        more = f" (and {count - 1} more)" if count > 1 else ""
        raise InvalidField(
            f"{first.field or 'the request'}: {first.description}{more}",
            violations=violations,
            metadata={"violations": str(count)} if count > len(violations) else {},
        )


def parse(decode: Callable[[bytes], MessageT], raw: bytes) -> MessageT:
    """Decode and validate one message; raise MalformedRequest when it cannot be decoded."""
    try:
        message = decode(raw)
    except Exception as error:
        raise malformed() from error
    check(message, may_hold_nul=b"\0" in raw)
    return message


def malformed() -> SegueError:
    """Return the error for bytes that cannot be decoded."""
    return MalformedRequest("the bytes are not this message: check the client's proto files, and that texts are UTF-8")


def describe(broken: Violation, message: Message) -> FieldViolation:
    """Turn one broken rule into a field violation."""
    elements = broken.proto.field.elements if broken.proto.field is not None else []
    path = ""
    for element in elements:
        path += ("." if path else "") + element.field_name
        if element.subscript is not None:
            path += f"[{element.subscript.value}]"
    names = [element.field_name for element in elements]
    return FieldViolation(path, described_rule(broken), suggest(broken, field_at(message, names)))


def described_rule(broken: Violation) -> str:
    """Describe a broken rule, with the value if it is short: "it is 7: must be at most 1"."""
    value = broken.field_value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return broken.proto.message
    shown = repr(value) if isinstance(value, str) else f"{value:.9g}" if isinstance(value, float) else str(value)
    return f"it is {shown}: {broken.proto.message}" if len(shown) <= MAX_SHOWN else broken.proto.message


def field_at(message: Message, names: list[str]) -> Any:
    """Follow a path of field names through the message's types."""
    # Any: the descriptors of the two protobuf runtimes have no common type.
    kind: Any = message.DESCRIPTOR
    found: Any = None
    for name in names:
        found = kind.fields_by_name.get(name) if kind is not None else None
        if found is None:
            return None
        kind = found.message_type
    return found


def suggest(broken: Violation, field: Any) -> str:
    """Return a value that satisfies the rule, or an empty text if the rule does not determine one."""
    group, _, rule = broken.proto.rule_id.partition(".")
    if rule == "defined_only" and field is not None and field.enum_type is not None:
        names = [value.name for value in field.enum_type.values if value.number]
        return ", ".join(names[:MAX_NAMES]) + (" …" if len(names) > MAX_NAMES else "")
    if rule == "uuid":
        return str(uuid.uuid4())
    if rule == "const" and isinstance(broken.rule_value, str | int | float):
        return str(broken.rule_value)
    if group.startswith((*INTEGERS, "float", "double")):
        return nearest_bound(rule, broken.proto.message, broken.field_value, whole=group.startswith(INTEGERS))
    return ""


def nearest_bound(rule: str, text: str, value: object, *, whole: bool) -> str:
    """Return the bound that is nearest to a number outside its range."""
    kinds = [part for part in rule.split("_") if part in ("gt", "gte", "lt", "lte")]
    bounds = [float(found) for found in NUMBER.findall(text)]
    if len(kinds) != len(bounds) or not isinstance(value, int | float):
        return ""
    allowed = [bound for kind, bound in zip(kinds, bounds, strict=True) if kind.endswith("e")]
    if whole:
        step = {"gt": 1, "lt": -1}
        allowed += [bound + step[kind] for kind, bound in zip(kinds, bounds, strict=True) if kind in step]
    if not allowed:
        return ""
    best = allowed[0] if math.isnan(value) else min(allowed, key=lambda bound: abs(bound - value))
    return f"{best:.17g}" if not whole else str(int(best))


@cache
def may_hold_durations(descriptor: Descriptor, above: tuple[str, ...] = ()) -> bool:
    """Tell whether a message type can contain a Duration; most messages of a stream cannot."""
    if descriptor.full_name == DURATION:
        return True
    if descriptor.full_name in above:
        return False
    inner = [field.message_type for field in descriptor.fields if field.message_type is not None]
    return any(may_hold_durations(each, (*above, descriptor.full_name)) for each in inner)


def malformed_durations(message: Message, path: str = "") -> Iterator[FieldViolation]:
    """Find durations whose parts contradict each other, which the range rules of the contract accept."""
    for field, value in message.ListFields():
        if field.message_type is None or not may_hold_durations(field.message_type):
            continue
        is_map = field.message_type.GetOptions().map_entry
        for index, each in enumerate(value.values() if is_map else value if field.is_repeated else [value]):
            place = f"{path}{field.name}[{index}]" if field.is_repeated else f"{path}{field.name}"
            if not isinstance(each, Message):
                continue
            if field.message_type.full_name != DURATION:
                yield from malformed_durations(each, f"{place}.")
            elif abs(each.nanos) >= 10**9 or each.seconds * each.nanos < 0:  # type: ignore[attr-defined] # a Duration
                yield FieldViolation(place, "seconds and nanos have the same sign, and nanos is below a billion", "1s")


def texts_with_nul(message: Message, path: str = "") -> Iterator[FieldViolation]:
    """Find strings with the character U+0000, at which other programs would cut them."""
    for field, value in message.ListFields():
        is_text = field.type == field.TYPE_STRING
        if not is_text and field.message_type is None:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            places = [(f"[{json.dumps(key)}]", each) for key, each in value.items()]
        else:
            places = [(f"[{index}]", each) for index, each in enumerate(value)] if field.is_repeated else [("", value)]
        for place, each in places:
            name = f"{path}{field.name}{place}"
            if isinstance(each, Message):
                yield from texts_with_nul(each, f"{name}.")
            elif isinstance(each, str) and "\0" in each:
                yield FieldViolation(name, "it contains the character U+0000", each.replace("\0", "")[:MAX_SHOWN])
