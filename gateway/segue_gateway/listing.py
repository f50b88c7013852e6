"""Pages and filters of lists."""

from __future__ import annotations

import base64
import re
import zlib
from dataclasses import dataclass, field
from typing import Final

from segue.composer.v1 import composition_pb2
from segue_runtime import errors

DEFAULT_PAGE: Final = 50
LARGEST_PAGE: Final = 100
LARGEST_PLACE: Final = 2**63 - 1
"""The largest integer of the store."""
UPLOADS: Final = "uploads"
"""What the page tokens of ListUploads belong to. No filter has this text."""
ANALYSES: Final = "analyses "
"""What the page tokens of ListAnalyses belong to, with the filter after it."""
SESSION_LABEL: Final = ":session"
"""The label under which the store keeps a composition's session. Labels of callers cannot have this name."""
TERM: Final = re.compile(
    r"""\s*(?P<field>state|session|labels\.(?P<label>[a-z][a-z0-9_.-]{0,62}))\s*=\s*"(?P<value>[^"\\]{0,256})"\s*"""
)
AND: Final = re.compile(r"AND\s")


@dataclass(frozen=True)
class ListFilter:
    """The conditions of a list."""

    states: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)


def parse_filter(text: str) -> ListFilter:
    """Read terms joined by AND; InvalidFilter names the position of an error."""
    if not text.strip():
        return ListFilter()
    state = ""
    labels: dict[str, str] = {}
    position = 0
    while True:
        term = TERM.match(text, position)
        if term is None:
            raise _unreadable(text, position)
        label = term["label"] or SESSION_LABEL
        if state if term["field"] == "state" else label in labels:
            raise errors.InvalidFilter(
                f"filter: {term['field']} is named twice; a filter has one value for each field",
                metadata={"position": str(term.start("field"))},
            )
        if term["field"] == "state":
            state = _state(term["value"], term.start("value"))
        else:
            labels[label] = term["value"]
        position = term.end()
        if position == len(text):
            return ListFilter((state,) if state else (), labels)
        joined = AND.match(text, position)
        if joined is None:
            raise _unreadable(text, position)
        position = joined.end()


def parse_states(text: str) -> tuple[str, ...]:
    """Read a filter that names a state and nothing else, as ListAnalyses has it."""
    narrowed = parse_filter(text)
    if narrowed.labels:
        raise errors.InvalidFilter("filter: analyses have a state only", metadata={"position": "0"})
    return narrowed.states


def _state(name: str, position: int) -> str:
    full = name if name.startswith("STATE_") else f"STATE_{name}"
    if full not in composition_pb2.State.keys() or full == "STATE_UNSPECIFIED":  # noqa: SIM118  a wrapper, not a dict
        raise errors.InvalidFilter(f"filter: there is no state {name!r}", metadata={"position": str(position)})
    return full


def _unreadable(text: str, position: int) -> errors.SegueError:
    return errors.InvalidFilter(
        f"filter: syntax error at position {position}; write terms as "
        '`state = "RENDERING"`, `session = "…"` or `labels.key = "…"`, joined by AND',
        metadata={"position": str(min(position, len(text)))},
    )


def page_size(asked: int) -> int:
    """Return the size of a page."""
    return min(asked, LARGEST_PAGE) if asked else DEFAULT_PAGE


def encode_token(after: int | None, filter_text: str) -> str:
    """Return the token of the next page; empty after the last."""
    if after is None:
        return ""
    return base64.urlsafe_b64encode(f"{after}.{zlib.crc32(filter_text.encode())}".encode()).decode()


def decode_token(token: str, filter_text: str) -> int | None:
    """Read a page token; InvalidPageToken if this server did not issue it for this filter."""
    if not token:
        return None
    try:
        after, _, mark = base64.urlsafe_b64decode(token.encode("ascii")).decode("ascii").partition(".")
        place, expected = int(after), int(mark)
    except (ValueError, UnicodeError) as error:
        raise errors.InvalidPageToken("page_token: this server did not issue it; start with an empty one") from error
    if expected != zlib.crc32(filter_text.encode()) or not 0 <= place <= LARGEST_PLACE:
        raise errors.InvalidPageToken("page_token: it belongs to another filter; start with an empty one")
    return place
