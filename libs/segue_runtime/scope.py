"""The context of the call that a task serves: request id, caller, deadline; for logs and for calls to other roles."""

from __future__ import annotations

import re
import secrets
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_runtime.callers import Grant

REQUEST_ID_KEY = "x-request-id"
ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Scope:
    """One call. `deadline` is in seconds of time.monotonic(), or None. `peer` is the caller's host."""

    request_id: str
    owner: str = ""
    deadline: float | None = None
    grants: frozenset[Grant] = frozenset()
    peer: str = ""

    def remaining_s(self) -> float | None:
        """Return the seconds until the deadline, at least 0; None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


_current: ContextVar[Scope | None] = ContextVar("segue_scope", default=None)


def current() -> Scope | None:
    """Return the scope of the running task, if it has one."""
    return _current.get()


def enter(scope: Scope) -> None:
    """Set the scope of the running task; tasks that it starts inherit it."""
    _current.set(scope)


def leave() -> None:
    """Clear the scope, for work that outlives the call that started it."""
    _current.set(None)


def new_request_id() -> str:
    """Return a new random request id."""
    return secrets.token_hex(12)


def accept_request_id(sent: str | bytes | None) -> str:
    """Return the caller's request id, or a new one if it is missing or unsafe for a log."""
    return sent if isinstance(sent, str) and ACCEPTABLE_ID.fullmatch(sent) else new_request_id()


def shortest(*limits_s: float | None) -> float | None:
    """Return the smallest of several time limits in seconds; None means no limit."""

    def known() -> Iterator[float]:
        for limit_s in limits_s:
            if limit_s is not None:
                yield max(0.0, float(limit_s))

    return min(known(), default=None)
