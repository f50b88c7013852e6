"""A check, its result, and the exceptions that end a check early."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from segue_renderer.conformance.target import Target

    CheckFunction: TypeAlias = Callable[[Target], Awaitable[str]]
    """Returns a detail; raises CheckFailed or CheckSkipped."""


class Outcome(Enum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check; `detail` gives the measured values or the reason."""

    name: str
    promise: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True)
class Check:
    """One promise of the contract, and the function that checks it."""

    name: str
    promise: str
    function: CheckFunction


class CheckFailed(Exception):  # noqa: N818 - an outcome
    """The renderer breaks the promise; the text says how."""


class CheckSkipped(Exception):  # noqa: N818 - an outcome
    """The promise does not apply to this renderer; the text says why."""


def require(condition: object, problem: str) -> None:
    """Fail the check unless the condition holds."""
    if not condition:
        raise CheckFailed(problem)


def require_none(problems: list[str]) -> None:
    """Fail the check if there are problems; the first ones are named."""
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckFailed("; ".join(problems[:3]) + more)
