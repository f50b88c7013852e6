"""The start-up log says what is open: authentication, TLS and limits."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from tests.runtime.test_runtime_tls import TlsFolder

from segue_runtime import logs
from segue_runtime.settings import LogSettings, load
from segued.serve.node import Node

if TYPE_CHECKING:
    from pathlib import Path

TOKEN, ROLES, TLS, LIMITS = "no token is required", "no token of roles", "no TLS", "no table of tenants"


@pytest.mark.parametrize(
    ("flags", "listen", "expected"),
    [
        ({}, "127.0.0.1:0", [TOKEN, TLS, LIMITS]),
        ({}, "unix", []),
        ({"server.insecure": "true"}, "0.0.0.0:0", [TOKEN, TLS, LIMITS]),
        ({"server.token": "a token that is long enough"}, "127.0.0.1:0", [TLS, LIMITS]),
        ({"server.signing_keys": "keys"}, "127.0.0.1:0", [TLS, LIMITS]),
        ({"server.tls_cert": "server.crt", "server.tls_key": "server.key"}, "127.0.0.1:0", [TOKEN, LIMITS]),
        (
            {"server.tls_cert": "server.crt", "server.tls_key": "server.key", "server.tls_client_ca": "ca.crt"},
            "127.0.0.1:0",
            [LIMITS],
        ),
        (
            {
                "server.tls_cert": "server.crt",
                "server.tls_key": "server.key",
                "server.signing_keys": "keys",
                "limits.tenants_file": "tenants.toml",
            },
            "0.0.0.0:0",
            [],
        ),
        ({"server.role": "planner"}, "127.0.0.1:0", [ROLES, TLS]),
        ({"server.role": "planner", "pool.token_file": "keys"}, "127.0.0.1:0", [TLS]),
    ],
)
async def test_each_open_door_has_a_line(
    flags: dict[str, str], listen: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    TlsFolder(tmp_path)
    (tmp_path / "keys").write_text("k" * 40)
    (tmp_path / "tenants.toml").write_text("[default]\nweight = 1\n")
    text = io.StringIO()
    logs.configure(LogSettings(format="json"), text)
    settings = load({"home": str(tmp_path), "server.drain": "1s", **flags}, environ={}, folder=tmp_path)
    address = f"unix:{tmp_path}/s" if listen == "unix" else listen
    async with Node(settings, listen=(address,)):
        pass
    lines = [json.loads(line) for line in text.getvalue().splitlines()]
    doors = [line for line in lines if line["event"].startswith("open: ")]
    assert [each for line in doors for each in (TOKEN, ROLES, TLS, LIMITS) if each in line["event"]] == expected
    assert len(doors) == len(expected)
    is_local = listen.startswith("127.")
    assert {line["level"] for line in doors} <= ({"info"} if is_local else {"warning"})
    assert all(line["addresses"] for line in doors)
