"""The classes that errors are made of: a base, a few groups to catch, and a function that makes a class for a reason.

Messages are for people and reach the client unchanged. A message says what is wrong, where, and what to do; it never
contains a secret.
"""

# ruff: noqa: N818 - the names say what is wrong; "Error" at the end of each would say it again

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar, cast

from grpc import StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "FieldViolation",
    "InternalError",
    "InvalidRequest",
    "QuotaViolation",
    "ResourceExhausted",
    "SegueError",
    "Unavailable",
    "UnknownReason",
    "leaves",
]


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field that breaks a rule: its path, what is wrong, and a value that would be accepted (or empty)."""

    field: str
    description: str
    suggestion: str = ""


@dataclass(frozen=True, slots=True)
class QuotaViolation:
    """One limit that a request exceeds: of whom, of what (`metric`), and how much is allowed."""

    subject: str
    description: str
    metric: str
    limit: int


class SegueError(Exception):
    """Base of all errors; callers raise a class that has a reason."""

    code = StatusCode.INTERNAL
    reason = ""
    """The reason as ErrorInfo has it: the name in ErrorReason without its prefix."""

    def __init__(
        self,
        message: str,
        *,
        metadata: Mapping[str, str] = MappingProxyType({}),
        violations: Sequence[FieldViolation] = (),
        quotas: Sequence[QuotaViolation] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = dict(metadata)
        self.violations = tuple(violations)
        self.quotas = tuple(quotas)
        self.retry_after_s = retry_after_s


class InvalidRequest(SegueError):
    """The request is wrong, now and later."""

    code = StatusCode.INVALID_ARGUMENT


class ResourceExhausted(SegueError):
    """Memory, disk, queue or quota is used up."""

    code = StatusCode.RESOURCE_EXHAUSTED


class Unavailable(SegueError):
    """The same request can succeed later, or elsewhere."""

    code = StatusCode.UNAVAILABLE


class InternalError(SegueError):
    """A fault in Segue; the server's log has it under the request id."""

    reason = "INTERNAL"


class UnknownReason(SegueError):
    """An error of a newer or a foreign server: this release knows its code, not its reason."""

    def __init__(self, message: str, *, code: StatusCode, reason: str, metadata: Mapping[str, str]) -> None:
        super().__init__(message, metadata=metadata)
        self.code = code
        self.reason = reason or InternalError.reason


ErrorT = TypeVar("ErrorT", bound=SegueError)


def leaf(reason: str, code: StatusCode, group: type[ErrorT], *, name: str = "") -> type[ErrorT]:
    """Make the class of a reason. Its name is the reason in CapWords."""
    made = type(
        name or reason.title().replace("_", ""),
        (group,),
        {"reason": reason, "code": code, "__module__": "segue_runtime.errors", "__doc__": f"{code.name}, {reason}."},
    )
    return cast("type[ErrorT]", made)


def leaves(group: type[SegueError] = SegueError) -> Iterator[type[SegueError]]:
    """List every class that has a reason of its own."""
    for child in group.__subclasses__():
        if "reason" in vars(child):
            yield child
        yield from leaves(child)
