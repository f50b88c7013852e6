"""Signed tokens at a real server: who is let in with what, which tokens are refused, and how keys are replaced."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from typing import TYPE_CHECKING, Any

import grpc
import jwt
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.runtime.call_server import GOOD, Client, Seen, refused, running_server

from segue_runtime import errors, logs, reloaded_file
from segue_runtime.callers import DEFAULT_GRANTS, Caller, Grant
from segue_runtime.rpc.admission import admission, bearer, signed_tokens
from segue_runtime.settings import LogSettings, SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

OLD, NEW, FOREIGN = (letter * 64 for letter in "onf")
UNKNOWN = grpc.StatusCode.UNAUTHENTICATED
ANN = Caller("ann", DEFAULT_GRANTS)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer wrong tokens at once, and look at files at every call."""
    monkeypatch.setattr(admission, "SLOW_DOWN_S", 0.0)
    monkeypatch.setattr(reloaded_file, "LOOK_EVERY_S", 0.0)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"{NEW}\n{OLD}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
async def server(tmp_path: Path, keys: Path) -> AsyncIterator[tuple[Client, Seen]]:
    async with running_server(tmp_path, signing_keys=keys) as (client, seen, _):
        yield client, seen


def signed(caller: Caller = ANN, *, secret: str = NEW, ttl_s: float = 3600) -> str:
    return signed_tokens.sign(signed_tokens.SigningKey(secret), caller, now=time.time(), ttl_s=ttl_s)


def of(claims: dict[str, Any], *, secret: str = NEW, algorithm: str = "HS256", **header: Any) -> str:
    """Sign claims of any kind, by default with the right key and its id; a claim that is None is left out."""
    now = int(time.time())
    every: dict[str, Any] = {
        "iss": "segued",
        "sub": "ann",
        "grants": ["watch"],
        "iat": now,
        "exp": now + 3600,
        **claims,
    }
    kept = {name: value for name, value in every.items() if value is not None}
    named = {"kid": signed_tokens.SigningKey(secret).key_id, **header}
    named = {name: value for name, value in named.items() if value is not None}
    return jwt.encode(kept, "" if algorithm == "none" else secret, algorithm=algorithm, headers=named)


def raw(header: bytes, payload: bytes = b"{}") -> str:
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header, payload, b"signature"))


async def call(client: Client, token: str) -> Any:
    return await client.unary(GOOD, metadata=(("authorization", f"Bearer {token}"),))


async def test_a_token_gives_its_owner_and_its_grants(server: tuple[Client, Seen]) -> None:
    client, seen = server
    for secret in (NEW, OLD):
        for grants in (DEFAULT_GRANTS, frozenset({Grant.ADMIN}), frozenset({Grant.COMPOSE, Grant.ROLE})):
            await call(client, signed(Caller("b.o-b@x", grants), secret=secret))
            here = seen.scopes[-1]
            assert here is not None
            assert (here.owner, here.grants) == ("b.o-b@x", grants)
    code, error, _ = await refused(call(client, signed(Caller("ann", frozenset({Grant.WATCH})))))
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert error.metadata["grant"] == "compose"


NOW = int(time.time())
DAY = 86400
WRONG = {
    "expired": (of({"iat": NOW - 2 * DAY, "exp": NOW - DAY}), "has expired"),
    "issued later": (of({"iat": NOW + DAY, "exp": NOW + 2 * DAY}), "not valid yet"),
    "valid later": (of({"nbf": NOW + DAY, "exp": NOW + 2 * DAY}), "not valid yet"),
    "valid too long": (of({"exp": NOW + 31 * DAY}), "longer than server.max_token_ttl"),
    "another key": (signed(secret=FOREIGN), "not among the server.signing_keys"),
    "another key with a known id": (
        of({}, secret=FOREIGN, kid=signed_tokens.SigningKey(NEW).key_id),
        "signature is wrong",
    ),
    "no key id": (of({}, kid=None), "not among the server.signing_keys"),
    "a key id of another type": (raw(b'{"alg": "HS256", "kid": 7}'), "damaged"),
    "not signed": (of({}, algorithm="none"), "algorithm is not accepted: sign with HS256"),
    "a stronger algorithm": (of({}, secret=NEW, algorithm="HS512"), "algorithm is not accepted"),
    "no algorithm": (raw(b'{"kid": "%s"}' % signed_tokens.SigningKey(NEW).key_id.encode()), "algorithm"),
    "no owner": (of({"sub": None}), "no claim `sub`"),
    "no grants": (of({"grants": None}), "no claim `grants`"),
    "no end": (of({"exp": None}), "no claim `exp`"),
    "no beginning": (of({"iat": None}), "no claim `iat`"),
    "no issuer": (of({"iss": None}), "no claim `iss`"),
    "another issuer": (of({"iss": "elsewhere"}), "another issuer"),
    "for an audience": (of({"aud": "elsewhere"}), "another audience"),
    "an empty owner": (of({"sub": ""}), "names no owner"),
    "an owner with a path": (of({"sub": "../ann"}), "names no owner"),
    "an owner in capitals": (of({"sub": "Ann"}), "names no owner"),
    "a long owner": (of({"sub": "a" * 64}), "names no owner"),
    "every owner": (of({"sub": "*"}), "names no owner"),
    "empty grants": (of({"grants": []}), "not a list of grants"),
    "grants as a text": (of({"grants": "watch"}), "not a list of grants"),
    "grants as an object": (of({"grants": {"watch": 1}}), "not a list of grants"),
    "an unknown grant": (of({"grants": ["watch", "sing"]}), "none of compose,watch"),
    "a grant of another type": (of({"grants": [["watch"]]}), "none of compose,watch"),
    "an end that is a text": (of({"exp": str(NOW + 3600)}), "`exp` is not a number"),
    "a beginning that is true": (of({"iat": True}), "`iat` is not a number"),
    "an end without end": (of({"exp": float("inf")}), "damaged, or a claim is of a wrong type"),
    "an endless number": (of({"exp": 10**300}), "longer than server.max_token_ttl"),
    "no object": (raw(b"[]"), "damaged"),
    "no JSON": (raw(b"{"), "damaged"),
    "deep": (raw(b"[" * 5000), "damaged"),
    "a critical extension": (of({}, crit=["x"], x=1), "damaged"),
    "two parts": (signed().rpartition(".")[0], "the token is wrong"),
    "four parts": (f"{signed()}.x", "the token is wrong"),
    "no base64": ("a.b!.c", "damaged"),
    "enormous": ("a" * 8193, "more than 8192 characters"),
}


async def test_a_wrong_token_is_refused_with_the_reason_and_without_the_token(tmp_path: Path, keys: Path) -> None:
    text = io.StringIO()
    logs.configure(LogSettings(format="json", level="debug"), text)
    async with running_server(tmp_path, signing_keys=keys) as (client, seen, _):
        for name, (token, reason) in WRONG.items():
            code, error, _ = await refused(call(client, token))
            assert (code, error.reason) == (UNKNOWN, "UNAUTHENTICATED"), name
            assert reason in error.message, (name, error.message)
            for part in token.split("."):
                assert len(part) < 4 or part not in error.message, name
        assert not seen.scopes
        await call(client, signed())
    for token, _ in WRONG.values():
        assert token not in text.getvalue()


@given(data=st.data())
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_change_of_a_token_is_accepted_or_breaks_anything(keys: Path, data: st.DataObject) -> None:
    verifier = signed_tokens.SignedTokens(signed_tokens.open_keys(keys), 3600.0)
    token = signed(ttl_s=60)
    assert verifier.caller(token, bearer.header_of(token)) == ANN
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.one_of(st.characters(), st.sampled_from("abcABC019_-.=")).filter(lambda it: it != token[at]))
    changed = token[:at] + other + token[at + 1 :]
    with pytest.raises(errors.Unauthenticated):
        verifier.caller(changed, bearer.header_of(changed))


async def test_a_key_is_replaced_while_the_server_runs(server: tuple[Client, Seen], keys: Path) -> None:
    client, _ = server
    first = signed(secret=NEW)
    added, *earlier = signed_tokens.add_key(keys)
    assert [key.secret for key in earlier] == [NEW, OLD]
    assert keys.stat().st_mode & 0o777 == 0o600
    second = signed(secret=added.secret)
    await call(client, second)
    await call(client, first)
    keys.write_text(f"{added.secret}\n")
    await call(client, second)
    assert (await refused(call(client, first)))[0] is UNKNOWN
    # A file with an error, or one that is away, changes nothing.
    keys.write_text("short\n")
    await call(client, second)
    keys.unlink()
    await call(client, second)
    assert (await refused(call(client, first)))[0] is UNKNOWN


async def test_a_file_that_is_away_is_named_once_and_one_that_all_can_read_at_the_start(
    tmp_path: Path, keys: Path
) -> None:
    text = io.StringIO()
    logs.configure(LogSettings(format="json"), text)
    keys.chmod(0o644)
    async with running_server(tmp_path, signing_keys=keys) as (client, _, _):
        keys.unlink()
        for _ in range(5):
            await call(client, signed())
    lines = [json.loads(line) for line in text.getvalue().splitlines()]
    assert len([line for line in lines if line["event"].startswith("every user of this machine")]) == 1
    (away,) = [line for line in lines if line["event"].startswith("a changed file was not read")]
    assert str(keys) in away["reason"]
    assert NEW not in text.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it has no key"),
        ("\n \n", "it has no key"),
        (f"{NEW}\nshort\n", "line 2: write at least 32 characters"),
        (f"{NEW} {OLD}\n", "line 1: write at least 32 characters without spaces"),
        ("ä" * 40, "line 1"),
        ("".join(f"{number:032}\n" for number in range(33)), "more than 32 keys"),
        ("x" * (64 << 10), "more than 65536 bytes"),
        (None, "No such file"),
    ],
)
async def test_a_server_without_usable_keys_does_not_start(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_text(content + ("x" if "bytes" in reason else ""))
    with pytest.raises(SettingsError, match=reason) as caught:
        async with running_server(tmp_path, signing_keys=path):
            pass
    assert "server.signing_keys" in str(caught.value)
    assert "short" not in str(caught.value)


async def test_a_stranger_without_a_message_is_answered_at_once(server: tuple[Client, Seen]) -> None:
    client, _ = server

    async def never() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    for path in ("Unary", "Watch", "Upload", "Both"):
        method: Any = client.channel.stream_stream(f"/segue.test.v1.TestService/{path}")
        stream = method(never(), timeout=50)
        async with asyncio.timeout(40):
            assert await stream.code() is UNKNOWN
