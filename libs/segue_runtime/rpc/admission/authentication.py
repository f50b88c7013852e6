"""Who calls: the credentials that a server accepts. Tokens are compared by their digests, so the time tells nothing."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from segue_runtime.callers import DEFAULT_GRANTS, LOCAL, OPERATOR_GRANTS, OWNER, Caller, Grant
from segue_runtime.errors import Unauthenticated
from segue_runtime.reloaded_file import ReloadedFile
from segue_runtime.rpc.admission.tokens_file import callers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from segue_runtime.rpc.admission.issued_tokens import IssuedTokens
    from segue_runtime.rpc.admission.role_tokens import RoleTokens
    from segue_runtime.rpc.admission.signed_tokens import SignedTokens
    from segue_runtime.settings import JwtSettings, ServerSettings

    Connection = Callable[[], Mapping[str, Iterable[bytes]]]
    """What TLS knows of the caller, as the context of a call returns it."""

SCHEME: Final = "bearer "
MAX_CHARACTERS: Final = 8192
OPERATOR: Final = Caller(LOCAL, OPERATOR_GRANTS)
SUBJECT: Final = "subject"
COMMON_NAME: Final = re.compile(r"(?:^|(?<!\\)[,+])CN=")
A_ROLE: Final = Caller(LOCAL, frozenset({Grant.ROLE}))


class Authenticator(Protocol):
    """Tells who calls."""

    async def __call__(self, metadata: Mapping[str, str | bytes], connection: Connection) -> Caller:
        """Return the caller, or raise Unauthenticated."""
        ...


class NoAuth:
    """Accepts every caller as the same one, on loopback or a closed network."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def __call__(self, metadata: Mapping[str, str | bytes], connection: Connection) -> Caller:  # noqa: ARG002 - the Protocol's signature
        return self._caller


@dataclass(frozen=True, slots=True)
class Credentials:
    """Everything by which a server knows callers. What they may do is the concern of their grants."""

    operator: bytes | None = None
    """The digest of `server.token`."""
    roles: RoleTokens | None = None
    file: ReloadedFile[Mapping[bytes, Caller]] | None = None
    signed: SignedTokens | None = None
    issued: IssuedTokens | None = None
    certificates: bool = False
    """Whether the subject of a certificate is the owner of callers without a token."""

    @classmethod
    def of(cls, settings: ServerSettings, roles: RoleTokens | None) -> Credentials:
        """Open the credentials of the settings. Raises SettingsError."""
        path, keys = settings.tokens_file, settings.signing_keys
        return cls(
            hashlib.sha256(settings.token.encode()).digest() if settings.token else None,
            roles,
            ReloadedFile("server.tokens_file", path, callers_of) if path else None,
            _signed(keys, settings.max_token_ttl_s) if keys else None,
            _issued(settings.jwt) if settings.jwt.is_used else None,
            settings.tls_client_owner == SUBJECT,
        )

    async def __call__(self, metadata: Mapping[str, str | bytes], connection: Connection) -> Caller:
        token = sent_token(metadata)
        if token is None and self.certificates:
            return _of_certificate(connection())
        if token is None:
            raise Unauthenticated("a token is required: send the metadata `authorization: Bearer <token>`")
        known = self._known(hashlib.sha256(token.encode()).digest())
        if known is not None:
            return known
        if token.count(".") == 2 and (self.signed or self.issued):
            from segue_runtime.rpc.admission import bearer, signed_tokens

            header = bearer.header_of(token)
            if self.signed and (self.issued is None or header.get("alg") == signed_tokens.ALGORITHM):
                return self.signed.caller(token, header)
            if self.issued:
                return await self.issued.caller(token, header)
        raise Unauthenticated("the token is wrong: ask the operator of this server for another one")

    def _known(self, digest: bytes) -> Caller | None:
        if digest == self.operator:
            return OPERATOR
        if self.roles is not None and self.roles.accepts(digest):
            return A_ROLE
        return self.file.value().get(digest) if self.file else None


# The package for tokens in three parts loads much; a server without such tokens starts without it.
def _signed(keys: Path, max_ttl_s: float) -> SignedTokens:
    from segue_runtime.rpc.admission import signed_tokens

    return signed_tokens.SignedTokens(signed_tokens.open_keys(keys), max_ttl_s)


def _issued(settings: JwtSettings) -> IssuedTokens:
    from segue_runtime.rpc.admission.issued_tokens import IssuedTokens

    return IssuedTokens(settings)


def sent_token(metadata: Mapping[str, str | bytes]) -> str | None:
    """Return the token of a call, or None if it has none. Raises Unauthenticated for one that is too long."""
    sent = metadata.get("authorization", "")
    if not isinstance(sent, str) or not sent.lower().startswith(SCHEME):
        return None
    token = sent[len(SCHEME) :].strip()
    if len(token) > MAX_CHARACTERS:
        raise Unauthenticated(f"the token has more than {MAX_CHARACTERS} characters")
    return token


def _of_certificate(connection: Mapping[str, Iterable[bytes]]) -> Caller:
    """Return the owner that the subject of the caller's certificate names: its only common name (CN)."""
    subject, owner = (
        b"".join(connection.get(name, ())).decode("utf-8", "replace") for name in ("x509_subject", "x509_common_name")
    )
    is_ambiguous = len(COMMON_NAME.findall(subject)) > 1
    if not OWNER.fullmatch(owner) or owner == LOCAL or is_ambiguous:
        raise Unauthenticated(
            "the subject of your certificate names no owner: it has one common name (CN), of 1 to 63 characters of "
            f"a-z, 0-9 and ._@-, which is not {LOCAL}; or send a token"
        )
    return Caller(owner, DEFAULT_GRANTS)


def authenticators(
    settings: ServerSettings, roles: RoleTokens | None, *, has_users: bool
) -> tuple[Authenticator, Authenticator]:
    """Return the authenticators of the services for users, and of those for roles.

    Without credentials of users, users need none. Without credentials of roles, roles need none, unless the server has
    users that it knows: they could not be told apart.
    """
    credentials = Credentials.of(settings, roles)
    knows_roles = bool(roles or settings.signing_keys)
    knows_users = settings.knows_users or bool(settings.tls_client_ca)
    return (
        credentials if settings.knows_users else NoAuth(OPERATOR),
        credentials if knows_roles or (has_users and knows_users) else NoAuth(A_ROLE),
    )
