"""The public keys of an issuer of tokens (JWKS), from a file or from the issuer's server."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import jwt

from segue_runtime import logs
from segue_runtime.errors import ServiceUnreachable
from segue_runtime.http.exchange import HttpEndpoint, HttpError, exchange
from segue_runtime.reloaded_file import ReloadedFile
from segue_runtime.rpc.addresses import is_loopback
from segue_runtime.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTING: Final = "server.jwt.keys"
ALGORITHMS: Final[Mapping[tuple[str, object], str]] = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
"""The one algorithm of each kind of key; keys of other kinds, and for other algorithms, are left out."""
RSA_BITS: Final = range(2048, 8193)
MAX_KEYS: Final = 100
MAX_BYTES: Final = 256 << 10
REFRESH_S: Final = 300.0
"""Known keys are fetched again after this time: removed ones must end to count."""
RETRY_S: Final = 10.0
"""Between two fetches, however many tokens have unknown keys."""
FETCH_S: Final = 5.0
MAX_WAITING: Final = 100
log = logs.get("tokens")


class IssuerKeys(Protocol):
    """Finds public keys."""

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key with an id, or None. Raises ServiceUnreachable if no keys could be read so far."""
        ...


def keys_of(text: str) -> Mapping[str, jwt.PyJWK]:
    """Return the keys of a JWKS that can verify tokens, by their ids. Raises ValueError."""
    try:
        listed = json.loads(text)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError('it is no JWKS: a JSON object with the member "keys"') from error
    if not isinstance(listed, list) or len(cast("list[object]", listed)) > MAX_KEYS:
        raise ValueError(f"its keys are no list of at most {MAX_KEYS}")
    usable = {key.key_id: key for each in cast("list[object]", listed) if (key := _usable(each)) and key.key_id}
    if not usable:
        raise ValueError(f"it has no key with an id (kid) for {', '.join(ALGORITHMS.values())}")
    return usable


def _usable(entry: object) -> jwt.PyJWK | None:
    if not isinstance(entry, dict):
        return None
    fields = cast("dict[str, Any]", entry)
    kind = (str(fields.get("kty")), fields.get("crv"))
    algorithm = next((name for known, name in ALGORITHMS.items() if known == kind), None)
    is_for_signatures = fields.get("use", "sig") == "sig" and fields.get("alg", algorithm) == algorithm
    if algorithm is None or not is_for_signatures or not isinstance(fields.get("kid"), str):
        return None
    public = {name: value for name, value in fields.items() if name in {"kty", "crv", "kid", "n", "e", "x", "y"}}
    try:
        key = jwt.PyJWK(public, algorithm)
    except Exception:  # noqa: BLE001 - numbers of any kind reach two libraries
        return None
    if algorithm == "RS256" and key.key.key_size not in RSA_BITS:
        return None
    return key


def open_keys(where: str) -> IssuerKeys:
    """Open the keys of a file or of an address. Raises SettingsError."""
    if "://" not in where:
        return KeysFile(Path(where).expanduser())
    try:
        endpoint = HttpEndpoint.of(where, "https://login.example/keys.json")
    except ValueError as error:
        raise SettingsError([f"{SETTING}: {where!r}: {error}"]) from error
    if not endpoint.tls and not is_loopback(f"{endpoint.host}:{endpoint.port}"):
        raise SettingsError([f"{SETTING}: {where!r}: use https; anybody on the way could put in a key"])
    return FetchedKeys(endpoint)


class KeysFile:
    """Keys in a file, which is read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._file = ReloadedFile(SETTING, path, keys_of, max_bytes=MAX_BYTES)

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key with an id, or None."""
        return self._file.value().get(key_id)


class FetchedKeys:
    """Keys of a server. Those that were fetched count while it is away."""

    def __init__(self, endpoint: HttpEndpoint) -> None:
        self._endpoint = endpoint
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._tried: float | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._num_waiting = 0

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key with an id; wait for a fetch if it is unknown."""
        known = self._keys.get(key_id)
        now = time.monotonic()
        is_due = self._tried is None or now - self._tried >= (REFRESH_S if known else RETRY_S)
        if is_due and self._fetching is None:
            self._tried = now
            self._fetching = asyncio.create_task(self._fetch())
        if known is not None:
            return known
        if self._fetching is not None and self._num_waiting < MAX_WAITING:
            self._num_waiting += 1
            try:
                await asyncio.wait({self._fetching})
            finally:
                self._num_waiting -= 1
        if not self._keys:
            raise ServiceUnreachable("the keys of the tokens' issuer cannot be read at present", retry_after_s=RETRY_S)
        return self._keys.get(key_id)

    async def _get(self) -> str:
        status, raw = await exchange(self._endpoint, "GET", headers={}, max_bytes=MAX_BYTES)
        if status != 200:
            raise HttpError(f"the server answered with status {status}")
        return raw.decode()

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(FETCH_S):
                self._keys = keys_of(await self._get())
        except (HttpError, ValueError, TimeoutError) as error:
            reason = str(error) or f"no answer within {FETCH_S:g} s"
            log.warning("the issuer's keys were not fetched; those before still count", reason=reason)
        else:
            log.info("the issuer's keys were fetched", num_keys=len(self._keys))
        finally:
            self._fetching = None
