"""Authentication of callers by a bearer token, compared in constant time."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Protocol

from segue_runtime.errors import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEME = "bearer "
# Probes and grpcurl use these without a token; they reveal nothing about compositions.
OPEN_SERVICES = frozenset(
    {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection"}
)


class Authenticator(Protocol):
    """Returns the owner that a caller acts for."""

    def __call__(self, metadata: Mapping[str, str | bytes]) -> str:
        """Return the owner, or raise Unauthenticated."""
        ...


class NoAuth:
    """Accepts every caller as the same owner, on loopback or a closed network."""

    def __call__(self, metadata: Mapping[str, str | bytes]) -> str:  # noqa: ARG002 - the Protocol's signature
        return "local"


class BearerToken:
    """Accepts one token; all callers that send it are the same owner."""

    def __init__(self, token: str) -> None:
        self._expected = token.encode()

    def __call__(self, metadata: Mapping[str, str | bytes]) -> str:
        sent = metadata.get("authorization", "")
        if not isinstance(sent, str) or not sent.lower().startswith(SCHEME):
            raise Unauthenticated("a token is required: send the metadata `authorization: Bearer <token>`")
        if not hmac.compare_digest(sent[len(SCHEME) :].strip().encode(), self._expected):
            raise Unauthenticated("the token is wrong: compare it with the server's setting `server.token`")
        return "local"


def from_token(token: str) -> Authenticator:
    """Return the authenticator for a configured token; with an empty one, callers need none."""
    return BearerToken(token) if token else NoAuth()
