"""The tokens with which roles call each other, read from the file of `pool.token_file`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from segue_runtime.rpc.addresses import ListenError
from segue_runtime.settings import PeersSettings

if TYPE_CHECKING:
    from pathlib import Path

    from segue_runtime.settings import Settings

FEWEST_CHARACTERS: Final = 16
MAX_FILE_BYTES: Final = 64 << 10


class RoleTokens:
    """The tokens of a file, one in each line. The first is sent and all are accepted, so that tokens can change."""

    def __init__(self, path: Path) -> None:
        tokens = _read(path)
        self.sent = tokens[0]
        self._digests = frozenset(hashlib.sha256(token.encode()).digest() for token in tokens)

    def accepts(self, digest: bytes) -> bool:
        """Return whether a token with this SHA-256 is one of them."""
        return digest in self._digests


@dataclass(frozen=True, slots=True)
class RoleAccess:
    """How this process calls other roles."""

    peers: PeersSettings = field(default_factory=PeersSettings)
    token: str = field(default="", repr=False)
    is_closed_network: bool = False
    """Whether the token may be sent without TLS to other machines."""


def role_tokens(settings: Settings) -> RoleTokens | None:
    """Return the tokens of the settings' file; None if the settings name no file. Raises ListenError."""
    return RoleTokens(settings.pool.token_file) if settings.pool.token_file else None


def role_access(settings: Settings) -> RoleAccess:
    """Return how a process with these settings calls other roles. Raises ListenError."""
    tokens = role_tokens(settings)
    return RoleAccess(settings.peers, tokens.sent if tokens else "", settings.server.insecure)


def _read(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES).decode("ascii")
    except OSError as error:
        raise ListenError(f"pool.token_file: {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ListenError(f"pool.token_file: {path}: it is no text in ASCII") from error
    tokens = [line.strip() for line in text.splitlines() if line.strip()]
    for number, token in enumerate(tokens, 1):
        if len(token) < FEWEST_CHARACTERS or not token.isprintable() or " " in token:
            raise ListenError(
                f"pool.token_file: {path}, token {number}: write at least {FEWEST_CHARACTERS} characters without "
                "spaces, for example those of `openssl rand -hex 32`"
            )
    if not tokens:
        raise ListenError(f"pool.token_file: {path} has no token")
    return tokens
