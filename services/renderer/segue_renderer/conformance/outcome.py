"""The result of a check, and the exceptions that end a check early."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


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
