"""Tokens of an identity provider (`server.jwt`): its users become owners."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from jwt.algorithms import has_crypto

from segue_runtime.callers import DEFAULT_GRANTS, LOCAL, OPERATOR_GRANTS, Caller, Grant
from segue_runtime.errors import Unauthenticated
from segue_runtime.rpc.admission import bearer, issuer_keys
from segue_runtime.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue_runtime.settings import JwtSettings


class IssuedTokens:
    """Verifies the tokens of one issuer, for one audience."""

    def __init__(self, settings: JwtSettings) -> None:
        named = {"issuer": settings.issuer, "audience": settings.audience, "keys": settings.keys}
        missing = [f"server.jwt.{name}: issuer, audience and keys belong together" for name in named if not named[name]]
        if not settings.owner_claim:
            missing.append("server.jwt.owner_claim: name a claim, such as sub")
        if missing:
            raise SettingsError(missing)
        if not has_crypto:
            raise SettingsError(
                ["server.jwt: these tokens need the package cryptography; install the extra segue[jwt]"]
            )
        self._settings = settings
        self._keys = issuer_keys.open_keys(settings.keys)

    async def caller(self, token: str, header: Mapping[str, object]) -> Caller:
        """Return the caller of a token, or raise Unauthenticated."""
        key_id, settings = header.get("kid"), self._settings
        if not isinstance(key_id, str):
            raise Unauthenticated("the token's header has no key id (kid)")
        key = await self._keys.find(key_id)
        if key is None:
            raise Unauthenticated("the token's key is not among the keys of its issuer: get a new token")
        claims = bearer.verified(
            token,
            key,
            (key.algorithm_name,),
            required=("iss", "aud", "exp", settings.owner_claim),
            issuer=settings.issuer,
            audience=settings.audience,
        )
        owner = bearer.owner_of(claims, settings.owner_claim)
        if owner == LOCAL:
            raise Unauthenticated(f"the token's claim `{settings.owner_claim}` is the operator's owner, {LOCAL}")
        return Caller(owner, self._grants(claims))

    def _grants(self, claims: Mapping[str, object]) -> frozenset[Grant]:
        """Return the grants that the claim names, a list or words; it may name others' rights too."""
        name = self._settings.grants_claim
        if not name:
            return DEFAULT_GRANTS
        named = claims.get(name)
        words = named.split() if isinstance(named, str) else named
        if not isinstance(words, list):
            raise Unauthenticated(f"the token's claim `{name}` names no grants")
        grants = frozenset(grant for grant in OPERATOR_GRANTS if grant.value in cast("list[object]", words))
        if not grants:
            raise Unauthenticated(f"the token's claim `{name}` names none of the grants of this server")
        return grants
