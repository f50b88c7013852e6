"""Authentication of callers by bearer tokens. Tokens are compared by their digests, so the time tells nothing."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

from segue_runtime.errors import Unauthenticated
from segue_runtime.rpc.admission.tokens_file import TokensFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue_runtime.settings import ServerSettings

SCHEME = "bearer "
LOCAL = "local"
"""The owner of callers that need no token, or send `server.token`."""


class Authenticator(Protocol):
    """Returns the owner that a caller acts for."""

    def __call__(self, metadata: Mapping[str, str | bytes]) -> str:
        """Return the owner, or raise Unauthenticated."""
        ...


class NoAuth:
    """Accepts every caller as the same owner, on loopback or a closed network."""

    def __call__(self, metadata: Mapping[str, str | bytes]) -> str:  # noqa: ARG002 - the Protocol's signature
        return LOCAL


class BearerTokens:
    """Accepts the token of the settings, whose callers are one owner, and the tokens of a file with their owners."""

    def __init__(self, token: str = "", file: TokensFile | None = None) -> None:
        self._own = hashlib.sha256(token.encode()).digest() if token else None
        self._file = file

    def __call__(self, metadata: Mapping[str, str | bytes]) -> str:
        sent = metadata.get("authorization", "")
        if not isinstance(sent, str) or not sent.lower().startswith(SCHEME):
            raise Unauthenticated("a token is required: send the metadata `authorization: Bearer <token>`")
        digest = hashlib.sha256(sent[len(SCHEME) :].strip().encode()).digest()
        if digest == self._own:
            return LOCAL
        owner = self._file.owner(digest) if self._file else None
        if owner is None:
            raise Unauthenticated("the token is wrong: ask the operator of this server for another one")
        return owner


def from_settings(settings: ServerSettings) -> Authenticator:
    """Return the authenticator of a server. Without a token and a file of tokens, callers need none."""
    file = TokensFile(settings.tokens_file) if settings.tokens_file else None
    return BearerTokens(settings.token, file) if settings.token or file else NoAuth()
