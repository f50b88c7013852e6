"""Authentication of callers by bearer tokens. Tokens are compared by their digests, so the time tells nothing."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Protocol

from segue_runtime.callers import OPERATOR_GRANTS, Caller, Grant
from segue_runtime.errors import Unauthenticated
from segue_runtime.reloaded_file import ReloadedFile
from segue_runtime.rpc.admission.tokens_file import callers_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue_runtime.rpc.admission.role_tokens import RoleTokens
    from segue_runtime.settings import ServerSettings

SCHEME = "bearer "
LOCAL = "local"
"""The owner of callers that need no token, or send `server.token`."""
OPERATOR: Final = Caller(LOCAL, OPERATOR_GRANTS)
A_ROLE: Final = Caller(LOCAL, frozenset({Grant.ROLE}))


class Authenticator(Protocol):
    """Tells who calls."""

    def __call__(self, metadata: Mapping[str, str | bytes]) -> Caller:
        """Return the caller, or raise Unauthenticated."""
        ...


class NoAuth:
    """Accepts every caller as the same one, on loopback or a closed network."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def __call__(self, metadata: Mapping[str, str | bytes]) -> Caller:  # noqa: ARG002 - the Protocol's signature
        return self._caller


def _sent_digest(metadata: Mapping[str, str | bytes]) -> bytes | None:
    """Return the SHA-256 of a call's token, or None if it has none."""
    sent = metadata.get("authorization", "")
    if not isinstance(sent, str) or not sent.lower().startswith(SCHEME):
        return None
    return hashlib.sha256(sent[len(SCHEME) :].strip().encode()).digest()


class BearerTokens:
    """Accepts the token of the settings, which is the operator's, and the tokens of a file with their owners."""

    def __init__(self, token: str = "", file: ReloadedFile[Mapping[bytes, Caller]] | None = None) -> None:
        self._own = hashlib.sha256(token.encode()).digest() if token else None
        self._file = file

    def __call__(self, metadata: Mapping[str, str | bytes]) -> Caller:
        digest = _sent_digest(metadata)
        if digest is None:
            raise Unauthenticated("a token is required: send the metadata `authorization: Bearer <token>`")
        if digest == self._own:
            return OPERATOR
        caller = self._file.value().get(digest) if self._file else None
        if caller is None:
            raise Unauthenticated("the token is wrong: ask the operator of this server for another one")
        return caller


class RoleCallers:
    """Accepts the tokens of roles. Without tokens it accepts nobody."""

    def __init__(self, tokens: RoleTokens | None) -> None:
        self._tokens = tokens

    def __call__(self, metadata: Mapping[str, str | bytes]) -> Caller:
        if self._tokens is None:
            raise Unauthenticated("no role may call this server: pool.token_file is not set")
        digest = _sent_digest(metadata)
        if digest is None:
            raise Unauthenticated("only roles may call this service: send a token of pool.token_file")
        if not self._tokens.accepts(digest):
            raise Unauthenticated("the token is not in the pool.token_file of this server")
        return A_ROLE


def of_roles(settings: ServerSettings, tokens: RoleTokens | None, *, has_users: bool) -> Authenticator:
    """Return the authenticator of the services for roles.

    Without tokens, a server that has users with credentials of their own accepts no role: they could not be told apart.
    """
    users_are_known = bool(settings.token or settings.tokens_file or settings.tls_client_ca)
    return RoleCallers(tokens) if tokens or (has_users and users_are_known) else NoAuth(A_ROLE)


def of_users(settings: ServerSettings) -> Authenticator:
    """Return the authenticator of the services for users. Without a token and a file of tokens, callers need none."""
    path = settings.tokens_file
    file = ReloadedFile("server.tokens_file", path, callers_of) if path else None
    return BearerTokens(settings.token, file) if settings.token or file else NoAuth(OPERATOR)
