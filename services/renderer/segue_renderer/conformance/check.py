"""A check: one promise of the contract, and the function that checks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from segue_renderer.conformance.target import Target

    CheckFunction: TypeAlias = Callable[[Target], Awaitable[str]]
    """Returns a detail; raises CheckFailed or CheckSkipped."""


@dataclass(frozen=True)
class Check:
    """One promise of the contract, and the function that checks it."""

    name: str
    promise: str
    function: CheckFunction
