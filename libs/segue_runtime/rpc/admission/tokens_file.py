"""The file of tokens: a line for each, with its owner, its SHA-256 and its grants."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from segue_runtime.callers import DEFAULT_GRANTS, OPERATOR_GRANTS, OWNER, Caller, Grant, listed

if TYPE_CHECKING:
    from collections.abc import Mapping

LINE = re.compile(rf"(?P<owner>{OWNER.pattern})\s+(?P<digest>[0-9a-f]{{64}})(?:\s+(?P<grants>[a-z,]+))?", re.ASCII)


def callers_of(text: str) -> Mapping[bytes, Caller]:
    """Return callers by the digests of their tokens. Raises ValueError with the line that is wrong."""
    callers: dict[bytes, Caller] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = LINE.fullmatch(stripped)
        if match is None:
            raise ValueError(
                f"line {number}: write an owner of a-z, 0-9 and ._@-, the SHA-256 of the token as 64 hexadecimal "
                f"digits in lower case, and grants, if they are others than {listed(DEFAULT_GRANTS)}"
            )
        digest = bytes.fromhex(match["digest"])
        caller = Caller(match["owner"], _grants(match["grants"], number))
        if callers.setdefault(digest, caller) != caller:
            raise ValueError(f"line {number}: the same token as for {callers[digest].owner}")
    return callers


def _grants(named: str | None, number: int) -> frozenset[Grant]:
    if named is None:
        return DEFAULT_GRANTS
    unknown = sorted(set(named.split(",")) - OPERATOR_GRANTS)
    if unknown:
        raise ValueError(f"line {number}: the grant {unknown[0]!r} is none of {listed(OPERATOR_GRANTS)}")
    return frozenset(Grant(name) for name in named.split(","))
