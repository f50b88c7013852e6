"""Tokens in three parts (JWT): how they are checked, and the texts of refusals.

A refusal says what is wrong with a token and contains nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import jwt

from segue_runtime.callers import EVERY_GRANT, OWNER, Caller, Grant, listed
from segue_runtime.errors import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LEEWAY_S: Final = 30.0
"""How far the clocks of the signing machine and of this one may differ."""
REASONS: Final[Mapping[type[jwt.PyJWTError], str]] = {
    jwt.ExpiredSignatureError: "the token has expired: get a new one",
    jwt.ImmatureSignatureError: "the token is not valid yet: compare the clocks of this server and of its issuer",
    jwt.InvalidSignatureError: "the token's signature is wrong",
    jwt.InvalidIssuerError: "the token has another issuer than this server accepts",
    jwt.InvalidAudienceError: "the token is for another audience than this server",
}


def header_of(token: str) -> Mapping[str, Any]:
    """Return the header of a token in three parts; nothing in it is verified."""
    try:
        return jwt.get_unverified_header(token)
    except Exception as error:  # hostile texts reach the library, whose errors may contain them
        raise Unauthenticated("the token is damaged: its header cannot be read") from error


def verified(token: str, key: Any, algorithms: Sequence[str], *, required: Sequence[str], **expected: Any) -> Any:
    """Return the claims of a token that this key has signed. `expected` are the issuer and the audience."""
    try:
        claims: Mapping[str, Any] = jwt.decode(
            token, key, algorithms=[*algorithms], options={"require": [*required]}, leeway=LEEWAY_S, **expected
        )
    except jwt.InvalidAlgorithmError as error:
        raise Unauthenticated(f"the token's algorithm is not accepted: sign with {' or '.join(algorithms)}") from error
    except jwt.MissingRequiredClaimError as error:
        raise Unauthenticated(f"the token has no claim `{error.claim}`") from error
    except jwt.PyJWTError as error:
        raise Unauthenticated(
            REASONS.get(type(error), "the token is damaged, or a claim is of a wrong type")
        ) from error
    except Exception as error:  # as in header_of
        raise Unauthenticated("the token is damaged") from error
    for name in ("exp", "iat", "nbf"):
        if name in claims and (isinstance(claims[name], bool) or not isinstance(claims[name], int | float)):
            raise Unauthenticated(f"the token's claim `{name}` is not a number of seconds")
    return claims


def owner_of(claims: Mapping[str, Any], claim: str) -> str:
    """Return the owner that a claim names."""
    named = claims.get(claim)
    if not isinstance(named, str) or not OWNER.fullmatch(named):
        raise Unauthenticated(
            f"the token's claim `{claim}` names no owner: an owner has 1 to 63 characters of a-z, 0-9 and ._@-"
        )
    return named


def grants_of(named: object, claim: str) -> frozenset[Grant]:
    """Return the grants of a claim, which is a list of known ones."""
    if not isinstance(named, list) or not named:
        raise Unauthenticated(f"the token's claim `{claim}` is not a list of grants")
    try:
        return frozenset(Grant(each) for each in cast("list[str]", named))
    except ValueError as error:
        raise Unauthenticated(
            f"the token's claim `{claim}` has a grant that is none of {listed(EVERY_GRANT)}"
        ) from error


def caller_of(claims: Mapping[str, Any]) -> Caller:
    """Return the caller of a token of this mesh's own."""
    return Caller(owner_of(claims, "sub"), grants_of(claims.get("grants"), "grants"))
