"""Tokens that `segued token` signs with the keys of `server.signing_keys`: who calls, with which grants, until when."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import jwt

from segue_runtime.callers import Grant
from segue_runtime.errors import Unauthenticated
from segue_runtime.reloaded_file import ReloadedFile
from segue_runtime.rpc.admission import bearer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from segue_runtime.callers import Caller

SETTING: Final = "server.signing_keys"
ALGORITHM: Final = "HS256"
ISSUER: Final = "segued"
CLAIMS: Final = ("iss", "sub", "grants", "iat", "exp")
FEWEST_CHARACTERS: Final = 32
MAX_KEYS: Final = 32
MAX_FILE_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key. Its id, which is in the header of the tokens that it has signed, is made from it."""

    secret: str = field(repr=False)

    @property
    def key_id(self) -> str:
        """The id; nobody can find the key with it."""
        return hashlib.sha256(b"segue signing key\0" + self.secret.encode()).hexdigest()[:16]


def keys_of(text: str) -> tuple[SigningKey, ...]:
    """Return the keys of a file, one in each line. Raises ValueError with the line that is wrong."""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    for number, line in lines:
        if len(line) < FEWEST_CHARACTERS or not line.isascii() or not line.isprintable() or " " in line:
            raise ValueError(
                f"line {number}: write at least {FEWEST_CHARACTERS} characters without spaces; "
                "`segued token --new-key FILE` adds a key"
            )
    keys = tuple(dict.fromkeys(SigningKey(line) for _, line in lines))
    if not keys:
        raise ValueError("it has no key: `segued token --new-key FILE` adds one")
    if len(keys) > MAX_KEYS:
        raise ValueError(f"it has more than {MAX_KEYS} keys: delete those that are not used any more")
    return keys


def open_keys(path: Path) -> ReloadedFile[tuple[SigningKey, ...]]:
    """Open a file of keys. Raises SettingsError."""
    return ReloadedFile(SETTING, path, keys_of, max_bytes=MAX_FILE_BYTES, is_secret=True)


def add_key(path: Path) -> tuple[SigningKey, ...]:
    """Write a new key into a file, before those that are in it, which goes on to verify tokens. Return all keys."""
    earlier = open_keys(path).value() if path.exists() else ()
    keys = keys_of("\n".join(key.secret for key in (SigningKey(secrets.token_hex(32)), *earlier)))
    partial = path.with_name(f"{path.name}.new")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"{key.secret}\n" for key in keys)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return keys


def sign(key: SigningKey, caller: Caller, *, now: float, ttl_s: float) -> str:
    """Return a token for a caller that is valid for `ttl_s` from `now` on."""
    claims = {
        "iss": ISSUER,
        "sub": caller.owner,
        "grants": [grant.value for grant in Grant if grant in caller.grants],
        "iat": int(now),
        "exp": int(now + ttl_s),
    }
    return jwt.encode(claims, key.secret, algorithm=ALGORITHM, headers={"kid": key.key_id})


class SignedTokens:
    """Verifies signed tokens with the keys of a file."""

    def __init__(self, keys: ReloadedFile[tuple[SigningKey, ...]], max_ttl_s: float) -> None:
        self._keys = keys
        self._max_ttl_s = max_ttl_s

    def caller(self, token: str, header: Mapping[str, object]) -> Caller:
        """Return the caller of a token, or raise Unauthenticated."""
        key = next((key for key in self._keys.value() if key.key_id == header.get("kid")), None)
        if key is None:
            raise Unauthenticated("the token's key is not among the server.signing_keys of this server: get a new one")
        claims = bearer.verified(token, key.secret, (ALGORITHM,), required=CLAIMS, issuer=ISSUER)
        if claims["exp"] - claims["iat"] > self._max_ttl_s:
            raise Unauthenticated("the token is valid for longer than server.max_token_ttl allows: get a new one")
        return bearer.caller_of(claims)
