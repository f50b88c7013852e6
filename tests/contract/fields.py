"""Walks the fields of the contract's messages, and sets a field by its path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message


@dataclass(frozen=True)
class Change:
    """How a field gets a value that is not its default."""

    apply: Callable[[Any], None]
    base: Callable[[Any], None] | None = None
    """The values that must be set in both messages for the field to have an effect."""
    more: Callable[[], list[Any]] | None = None
    """Further messages of a call, when the field announces them."""
    fails: bool = False
    """Whether the field must end the work with an error that names it: the base is not run then."""


def paths(descriptor: Descriptor, whole: frozenset[str] = frozenset()) -> Iterator[str]:
    """Return the path of every field, as "layers.level".

    Fields of nested messages have paths of their own. Messages whose full name is in `whole` are one path: a walk of
    their own covers them.
    """
    for field in descriptor.fields:
        nested = field.message_type
        if nested is None or nested.GetOptions().map_entry or _is_leaf(nested, whole):
            yield field.name
        else:
            for path in paths(nested, whole):
                yield f"{field.name}.{path}"


def _is_leaf(nested: Descriptor, whole: frozenset[str]) -> bool:
    return nested.full_name in whole or nested.full_name.startswith("google.protobuf.")


def put(message: Message, path: str, value: Any) -> None:
    """Set a field by its path; of repeated messages the first one is changed, or added."""
    *parents, name = path.split(".")
    target: Any = message
    for parent in parents:
        found = getattr(target, parent)
        repeated = target.DESCRIPTOR.fields_by_name[parent].is_repeated
        target = (found[0] if len(found) else found.add()) if repeated else found
    field = target.DESCRIPTOR.fields_by_name[name]
    found = getattr(target, name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        found.update(value)
    elif field.is_repeated:
        del found[:]
        found.extend(value)
    elif field.message_type is not None:
        found.CopyFrom(value)
    else:
        setattr(target, name, value)


def setting(path: str, value: Any) -> Change:
    """Return a change that sets one field."""
    return Change(lambda message: put(message, path, value))
