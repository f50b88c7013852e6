"""Tokens of an identity provider at a real server: keys from a file and from a small HTTP server."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import ssl
import time
import warnings
from typing import TYPE_CHECKING, Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from tests.runtime.call_server import GOOD, Client, Seen, refused, running_server
from tests.runtime.certificates import make_certificates

from segue_runtime import logs, reloaded_file
from segue_runtime.callers import DEFAULT_GRANTS, Caller, Grant
from segue_runtime.rpc.admission import admission, issued_tokens, issuer_keys, signed_tokens
from segue_runtime.settings import JwtSettings, LogSettings, SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

ISSUER, AUDIENCE = "https://login.example", "segue"
UNKNOWN = grpc.StatusCode.UNAUTHENTICATED
KEYS: Mapping[str, tuple[str, Any]] = {
    "rsa": ("RS256", rsa.generate_private_key(65537, 2048)),
    "ec": ("ES256", ec.generate_private_key(ec.SECP256R1())),
    "ed": ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
    "late": ("ES256", ec.generate_private_key(ec.SECP256R1())),
    "small": ("RS256", rsa.generate_private_key(65537, 1024)),  # noqa: S505 - it is refused
    "curve": ("ES384", ec.generate_private_key(ec.SECP384R1())),
}
PUBLIC = {
    key_id: (RSAAlgorithm if name == "RS256" else OKPAlgorithm if name == "EdDSA" else ECAlgorithm).to_jwk(
        private.public_key(), as_dict=True
    )
    for key_id, (name, private) in KEYS.items()
}
SECRET = "a-secret-that-stands-in-the-set-of-keys"
OCT = {"kty": "oct", "kid": "oct", "k": "YS1zZWNyZXQtdGhhdC1zdGFuZHMtaW4tdGhlLXNldC1vZi1rZXlz"}


def jwks(*key_ids: str) -> str:
    return json.dumps({"keys": [{**PUBLIC[key_id], "kid": key_id, "use": "sig"} for key_id in key_ids]})


def issued(key_id: str = "ec", *, key: Any = None, algorithm: str = "", header: Any = None, **claims: Any) -> str:
    """Sign claims; one that is None is left out."""
    known, private = KEYS.get(key_id, ("ES256", KEYS["ec"][1]))
    every = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": int(time.time()) + 3600, **claims}
    kept = {name: value for name, value in every.items() if value is not None}
    headers = {"kid": key_id} if header is None else header
    with warnings.catch_warnings(action="ignore", category=jwt.InsecureKeyLengthWarning):
        return jwt.encode(kept, private if key is None else key, algorithm=algorithm or known, headers=headers)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "SLOW_DOWN_S", 0.0)
    monkeypatch.setattr(reloaded_file, "LOOK_EVERY_S", 0.0)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    entries = json.loads(jwks("rsa", "ec", "ed", "small", "curve"))["keys"]
    other_use = [{**PUBLIC["late"], "kid": "late", "use": "enc"}, {**PUBLIC["rsa"], "kid": "pss", "alg": "PS256"}]
    path.write_text(json.dumps({"keys": [*entries, *other_use, OCT, 7, {"kty": "RSA", "kid": "none"}]}))
    return path


@contextlib.asynccontextmanager
async def serving(
    tmp_path: Path, keys: object, *, grants_claim: str = "", owner_claim: str = "sub", **more: Any
) -> AsyncIterator[tuple[Client, Seen]]:
    settings = JwtSettings(ISSUER, AUDIENCE, str(keys), owner_claim, grants_claim)
    async with running_server(tmp_path, jwt=settings, **more) as (client, seen, _):
        yield client, seen


async def call(client: Client, token: str) -> Any:
    return await client.unary(GOOD, metadata=(("authorization", f"Bearer {token}"),))


async def caller(client: Client, seen: Seen, token: str) -> Caller:
    await call(client, token)
    here = seen.scopes[-1]
    assert here is not None
    return Caller(here.owner, here.grants)


async def test_each_kind_of_key_verifies_and_the_claims_say_who_calls(tmp_path: Path, key_file: Path) -> None:
    async with serving(tmp_path, key_file) as (client, seen):
        for key_id in ("rsa", "ec", "ed"):
            assert await caller(client, seen, issued(key_id)) == Caller("ann", DEFAULT_GRANTS)
        assert (await caller(client, seen, issued(aud=["other", AUDIENCE]))).owner == "ann"
    async with serving(tmp_path, key_file, owner_claim="email", grants_claim="scope") as (client, seen):
        scope: object
        for scope in ("openid compose admin", ["compose", "profile", 7, "admin"]):
            found = await caller(client, seen, issued(email="ann@x", scope=scope))
            assert found == Caller("ann@x", frozenset({Grant.COMPOSE, Grant.ADMIN}))
        for scope in (None, "", "openid", [], {"compose": 1}, "role"):
            code, error, _ = await refused(call(client, issued(email="ann@x", scope=scope)))
            assert code is UNKNOWN
            assert "`scope` names no" in error.message


NOW = int(time.time())
WRONG = {
    "expired": (issued(exp=NOW - 90), "has expired"),
    "valid later": (issued(nbf=NOW + 900), "not valid yet"),
    "another issuer": (issued(iss="https://evil.example"), "another issuer"),
    "no issuer": (issued(iss=None), "no claim `iss`"),
    "another audience": (issued(aud="else"), "another audience"),
    "no audience": (issued(aud=None), "no claim `aud`"),
    "no end": (issued(exp=None), "no claim `exp`"),
    "no owner": (issued(sub=None), "no claim `sub`"),
    "an owner that is not one": (issued(sub="auth0|ann"), "names no owner"),
    "an owner of another type": (issued(sub=["ann"]), "damaged, or a claim is of a wrong type"),
    "the operator's owner": (issued(sub="local"), "the operator's owner"),
    "an unknown key": (issued("late"), "not among the keys of its issuer"),
    "another key with a known id": (issued("ec", key=KEYS["late"][1]), "signature is wrong"),
    "no key id": (issued(header={}), "no key id"),
    "a small key": (issued("small"), "not among the keys"),
    "another curve": (issued("curve"), "not among the keys"),
    "a secret in the set": (issued("oct", key=SECRET, algorithm="HS256"), "not among the keys"),
    "not signed": (issued("ec", key="", algorithm="none"), "algorithm is not accepted: sign with ES256"),
    "the algorithm of another key": (issued("rsa", key=KEYS["ec"][1], algorithm="ES256"), "sign with RS256"),
    "the public key as a secret": (
        issued("ec", key=PUBLIC["ec"]["x"] + PUBLIC["ec"]["y"], algorithm="HS256"),
        "algorithm is not accepted: sign with ES256",
    ),
    "no token in three parts": ("no-jwt", "the token is wrong"),
}


async def test_a_wrong_token_is_refused_with_the_reason_and_without_the_token(tmp_path: Path, key_file: Path) -> None:
    async with serving(tmp_path, key_file) as (client, seen):
        for name, (token, reason) in WRONG.items():
            code, error, _ = await refused(call(client, token))
            assert code is UNKNOWN, name
            assert reason in error.message, (name, error.message)
            assert all(len(part) < 4 or part not in error.message for part in token.split("."))
        assert not seen.scopes


async def test_signed_tokens_and_those_of_a_provider_are_accepted_beside_each_other(
    tmp_path: Path, key_file: Path
) -> None:
    keys = tmp_path / "signing-keys"
    keys.write_text("s" * 64)
    own = signed_tokens.sign(
        signed_tokens.SigningKey("s" * 64), Caller("bob", DEFAULT_GRANTS), now=time.time(), ttl_s=60
    )
    async with serving(tmp_path, key_file, signing_keys=keys) as (client, seen):
        assert (await caller(client, seen, own)).owner == "bob"
        assert (await caller(client, seen, issued())).owner == "ann"


async def test_a_changed_file_is_read_and_a_broken_one_is_not(tmp_path: Path, key_file: Path) -> None:
    async with serving(tmp_path, key_file) as (client, _):
        key_file.write_text(jwks("late"))
        await call(client, issued("late"))
        assert (await refused(call(client, issued("ec"))))[0] is UNKNOWN
        key_file.write_text("{")
        await call(client, issued("late"))


class KeyServer:
    """Serves a JWKS over HTTP, or fails as asked."""

    def __init__(self) -> None:
        self.body = jwks("ec").encode()
        self.status = 200
        self.num_requests = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.num_requests += 1
        await self.gate.wait()
        head = f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(self.body)}\r\n\r\n"
        with contextlib.suppress(ConnectionError):
            writer.write(head.encode() + self.body)
            await writer.drain()
        writer.close()


@pytest.fixture
async def key_server() -> AsyncIterator[KeyServer]:
    one = KeyServer()
    server = await asyncio.start_server(one.answer, "127.0.0.1", 0)
    one.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys.json"
    yield one
    one.gate.set()
    server.close()


async def test_keys_are_fetched_once_and_again_for_an_unknown_key_at_a_bounded_rate(
    tmp_path: Path, key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_keys, "RETRY_S", 1000.0)
    async with serving(tmp_path, key_server.url) as (client, _):
        await asyncio.gather(*(call(client, issued()) for _ in range(20)))
        assert key_server.num_requests == 1
        key_server.body = jwks("ec", "late").encode()
        answers = await asyncio.gather(*(refused(call(client, issued("late"))) for _ in range(20)))
        assert {code for code, _, _ in answers} == {UNKNOWN}
        assert key_server.num_requests == 1  # too soon
        monkeypatch.setattr(issuer_keys, "RETRY_S", 0.0)
        await call(client, issued("late"))
        assert key_server.num_requests == 2
        for _ in range(5):
            await call(client, issued("late"))
        assert key_server.num_requests == 2
        # Keys that were removed end to count after a refresh, which no caller waits for.
        key_server.body = jwks("ec").encode()
        monkeypatch.setattr(issuer_keys, "REFRESH_S", 0.0)
        async with asyncio.timeout(30):
            with contextlib.suppress(grpc.aio.AioRpcError):
                while True:
                    await call(client, issued("late"))
        await call(client, issued("ec"))


@pytest.mark.reference("openssl")
async def test_keys_are_fetched_over_tls_from_a_trusted_server_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_certificates(tmp_path)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(tmp_path / "own.pem", tmp_path / "own.key")
    one = KeyServer()
    server = await asyncio.start_server(one.answer, "127.0.0.1", 0, ssl=own)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/keys.json"
    for trusted in ("other.pem", "own.pem"):
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / trusted))  # the machine's trusted certificates
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
        async with serving(tmp_path, url) as (client, seen):
            if trusted == "own.pem":
                assert (await caller(client, seen, issued())).owner == "ann"
            else:
                assert (await refused(call(client, issued())))[0] is grpc.StatusCode.UNAVAILABLE
                assert one.num_requests == 0
    server.close()


async def test_a_server_of_keys_that_is_away_locks_out_nobody_whose_key_is_known(
    tmp_path: Path, key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = io.StringIO()
    logs.configure(LogSettings(format="json"), text)
    monkeypatch.setattr(issuer_keys, "RETRY_S", 0.0)
    monkeypatch.setattr(issuer_keys, "REFRESH_S", 0.0)
    async with serving(tmp_path, key_server.url) as (client, _):
        key_server.status = 503
        code, error, _ = await refused(call(client, issued()))
        assert (code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNREACHABLE")  # it is worth a retry
        key_server.status = 200
        await call(client, issued())
        bad = (
            b"{",
            b"[" * 100_000,
            b'{"keys": 1}',
            b'{"keys": []}',
            b"x" * (300 << 10),
            b"\xff",
            jwks("small").encode(),
        )
        for key_server.body in bad:
            await call(client, issued())
            assert (await refused(call(client, issued("late"))))[0] is UNKNOWN
        # A server that accepts and does not answer delays nobody with a known key.
        monkeypatch.setattr(issuer_keys, "FETCH_S", 0.3)
        key_server.gate.clear()
        waiting = asyncio.create_task(refused(call(client, issued("late"))))
        await call(client, issued())
        assert (await waiting)[0] is UNKNOWN
    reasons = [json.loads(line).get("reason", "") for line in text.getvalue().splitlines()]
    for expected in ("status 503", "no JWKS", "no list", "no key with an id", "more than 256 KiB", "no answer within"):
        assert any(expected in reason for reason in reasons), expected


async def test_callers_with_unknown_keys_do_not_pile_up(
    tmp_path: Path, key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_keys, "MAX_WAITING", 3)
    async with serving(tmp_path, key_server.url) as (client, _):
        await call(client, issued())
        monkeypatch.setattr(issuer_keys, "RETRY_S", 0.0)
        key_server.gate.clear()
        calls = [asyncio.create_task(refused(call(client, issued("late")))) for _ in range(10)]
        async with asyncio.timeout(30):
            while sum(each.done() for each in calls) < 7:  # noqa: ASYNC110 - the calls end one by one
                await asyncio.sleep(0.01)
        assert sum(each.done() for each in calls) == 7
        key_server.gate.set()
        assert {code for code, _, _ in await asyncio.gather(*calls)} == {UNKNOWN}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"issuer": ""}, "server.jwt.issuer: issuer, audience and keys belong together"),
        ({"audience": ""}, "server.jwt.audience"),
        ({"keys": ""}, "server.jwt.keys"),
        ({"owner_claim": ""}, "server.jwt.owner_claim"),
        ({"keys": "nowhere.json"}, "nowhere.json: No such file"),
        ({"keys": "http://login.example/keys"}, "use https"),
        ({"keys": "ftp://login.example/keys"}, "not an address"),
        ({"keys": "https://ann:secret@login.example/keys"}, "only scheme, host, port and path"),
        ({"keys": "https://login.example:99999/keys"}, "Port out of range"),
    ],
)
async def test_incomplete_settings_stop_the_start(tmp_path: Path, changes: dict[str, str], reason: str) -> None:
    named = {"issuer": ISSUER, "audience": AUDIENCE, "keys": "https://login.example/keys", **changes}
    with pytest.raises(SettingsError, match=reason):
        async with running_server(tmp_path, jwt=JwtSettings(**named)):
            pass


async def test_without_the_extra_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issued_tokens, "has_crypto", False)
    with pytest.raises(SettingsError, match=r"segue\[jwt\]"):
        async with running_server(tmp_path, jwt=JwtSettings(ISSUER, AUDIENCE, "https://login.example/keys")):
            pass
