"""Says what became of a field that was set: it changed the result, gave a warning, was refused, or was ignored."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CHANGED, WARNED, REFUSED, IGNORED = "changed", "warned", "refused", "ignored"


@dataclass
class Result:
    """The result of a call: its content, its warnings, or the error that refused it."""

    content: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: Any = None


def warnings_of(warnings: Iterable[Any]) -> tuple[str, ...]:
    """Return code and text of each warning."""
    return tuple(sorted(f"{each.code}: {each.text}" for each in warnings))


def verdict(path: str, before: Result, after: Result) -> str:
    """Compare the results without and with the field."""
    assert before.error is None, f"{path}: the request without the field must be accepted: {before.error}"
    if after.error is not None:
        words = _words_of(after.error)
        assert _names(path, words), f"{path}: it is refused, but the error does not name it: {words}"
        return REFUSED
    new = set(after.warnings) - set(before.warnings)
    if any(_names(path, warning) for warning in new):
        return WARNED
    return CHANGED if after.content != before.content else IGNORED


def _words_of(error: Any) -> str:
    return " ".join(
        [
            str(error),
            error.reason.lower(),
            *error.metadata,
            *error.metadata.values(),
            *(each.field for each in error.violations),
        ]
    )


def _names(path: str, text: str) -> bool:
    """Return whether a text has the name of the field, or of a message that the field is in."""
    return any(re.search(rf"(?<![a-z]){re.escape(part)}(?![a-z])", text) for part in path.split("."))
