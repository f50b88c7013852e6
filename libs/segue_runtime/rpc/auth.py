"""Who may call: a bearer token, compared in constant time."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Protocol

from segue_runtime.errors import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEME = "bearer "
# What probes and grpcurl need before they can know of a token; both tell nothing about anybody's work.
OPEN_SERVICES = frozenset(
    {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection"}
)


class Authenticator(Protocol):
    """Decides who the caller is."""

    def __call__(self, metadata: Mapping[str, str | bytes]) -> str:
        """Return the owner on whose account the call runs; raise Unauthenticated."""
        ...


class NoAuth:
    """Everybody is the same owner: a loopback or closed network."""

    def __call__(self, metadata: Mapping[str, str | bytes]) -> str:  # noqa: ARG002 - the Protocol's signature
        """Return the one owner."""
        return "local"


class BearerToken:
    """One token for all; who has it is the same owner."""

    def __init__(self, token: str) -> None:
        self._expected = token.encode()

    def __call__(self, metadata: Mapping[str, str | bytes]) -> str:
        """Compare the `authorization` metadata."""
        sent = metadata.get("authorization", "")
        if not isinstance(sent, str) or not sent.lower().startswith(SCHEME):
            raise Unauthenticated("a token is needed: send the metadata `authorization: Bearer <token>`")
        if not hmac.compare_digest(sent[len(SCHEME) :].strip().encode(), self._expected):
            raise Unauthenticated("the token is not valid here: compare it with the server's setting `server.token`")
        return "local"


def from_token(token: str) -> Authenticator:
    """Return the authenticator for a configured token; an empty one asks for none."""
    return BearerToken(token) if token else NoAuth()
