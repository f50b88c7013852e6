"""Pages and filters of lists."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from segue.composer.v1 import composition_pb2
from segue_runtime import errors

if TYPE_CHECKING:
    from segue_gateway.seal import Seal

DEFAULT_PAGE: Final = 50
LARGEST_PAGE: Final = 100
UPLOADS: Final = "uploads "
"""What the page tokens of ListUploads belong to, with the filter after it."""
ANALYSES: Final = "analyses "
"""What the page tokens of ListAnalyses belong to, with the filter after it."""
SEPARATIONS: Final = "separations "
"""The same of ListSeparations."""
SESSION_LABEL: Final = ":session"
"""The label under which the store keeps a composition's session. Labels of callers cannot have this name."""
TERM: Final = re.compile(
    r"""\s*(?P<field>state|session|owner|labels\.(?P<label>[a-z][a-z0-9_.-]{0,62}))\s*=\s*"(?P<value>[^"\\]{0,256})"\s*"""
)
_PLACE: Final = struct.Struct(">Q")
AND: Final = re.compile(r"AND\s")


@dataclass(frozen=True)
class ListFilter:
    """The conditions of a list."""

    states: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    owner: str = ""
    """Whose work is listed: a name, or ANYBODY; empty for the caller's own."""


def parse_filter(text: str) -> ListFilter:
    """Read terms joined by AND; InvalidFilter names the position of an error."""
    if not text.strip():
        return ListFilter()
    single = {"state": "", "owner": ""}
    labels: dict[str, str] = {}
    position = 0
    while True:
        term = TERM.match(text, position)
        if term is None:
            raise _unreadable(text, position)
        label = term["label"] or SESSION_LABEL
        if single.get(term["field"], label in labels):
            raise errors.InvalidFilter(
                f"filter: {term['field']} is named twice; a filter has one value for each field",
                metadata={"position": str(term.start("field"))},
            )
        if term["field"] == "state":
            single["state"] = _state(term["value"], term.start("value"))
        elif term["field"] == "owner":
            single["owner"] = _owner(term["value"], term.start("value"))
        else:
            labels[label] = term["value"]
        position = term.end()
        if position == len(text):
            return ListFilter((single["state"],) if single["state"] else (), labels, single["owner"])
        joined = AND.match(text, position)
        if joined is None:
            raise _unreadable(text, position)
        position = joined.end()


def parse_file_job_filter(text: str) -> ListFilter:
    """Read a filter that names a state and an owner only, as ListAnalyses and ListSeparations have it."""
    narrowed = parse_filter(text)
    if narrowed.labels:
        raise errors.InvalidFilter("filter: this list has state and owner only", metadata={"position": "0"})
    return narrowed


def parse_upload_filter(text: str) -> ListFilter:
    """Read a filter that names an owner only, as ListUploads has it."""
    narrowed = parse_filter(text)
    if narrowed.labels or narrowed.states:
        raise errors.InvalidFilter("filter: uploads have an owner only", metadata={"position": "0"})
    return narrowed


def _owner(name: str, position: int) -> str:
    if not name:
        raise errors.InvalidFilter(
            "filter: no owner is named; leave owner out for your own work", metadata={"position": str(position)}
        )
    return name


def _state(name: str, position: int) -> str:
    full = name if name.startswith("STATE_") else f"STATE_{name}"
    if full not in composition_pb2.State.keys() or full == "STATE_UNSPECIFIED":  # noqa: SIM118  a wrapper, not a dict
        raise errors.InvalidFilter(f"filter: there is no state {name!r}", metadata={"position": str(position)})
    return full


def _unreadable(text: str, position: int) -> errors.SegueError:
    return errors.InvalidFilter(
        f"filter: syntax error at position {position}; write terms as "
        '`state = "RENDERING"`, `session = "…"`, `owner = "…"` or `labels.key = "…"`, joined by AND',
        metadata={"position": str(min(position, len(text)))},
    )


def page_size(asked: int) -> int:
    """Return the size of a page."""
    return min(asked, LARGEST_PAGE) if asked else DEFAULT_PAGE


class PageTokens:
    """The page tokens of a store. Each belongs to an owner and a query."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    def encode(self, after: int | None, owner: str, query: str) -> str:
        """Return the token of the next page; empty after the last."""
        return "" if after is None else self._seal.seal(_PLACE.pack(after), _belongs_to(owner, query))

    def decode(self, token: str, owner: str, query: str) -> int | None:
        """Read a page token; InvalidPageToken if no server of this store issued it for this owner and query."""
        if not token:
            return None
        place = self._seal.open(token, _belongs_to(owner, query))
        if place is None or len(place) != _PLACE.size:
            raise errors.InvalidPageToken(
                "page_token: this server did not issue it for this list and filter; start with an empty one"
            )
        after: int = _PLACE.unpack(place)[0]
        return after


def _belongs_to(owner: str, query: str) -> bytes:
    return b"page\0" + owner.encode() + b"\0" + query.encode()
