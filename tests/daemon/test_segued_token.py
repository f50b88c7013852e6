"""`segued token`: what it prints, what it refuses, and that both command lines send its tokens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from tests.daemon.segued_command import environment, segued
from tests.mesh.harness import Segued
from tests.sdk.test_vocabulary import segue

from segue_runtime.settings import SettingsError
from segued.commands import token
from segued.exits import CliError, ExitCode
from segued.flags.parser import parser
from segued.flags.settings import settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    answer = segued(folder, "token", "--new-key", "keys")
    assert answer.returncode == 0, answer.stderr
    return folder / "keys"


@pytest.fixture(scope="module")
def server(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segued]:
    one = Segued(tmp_path_factory.mktemp("home"), "--server-signing-keys", str(keys)).start()
    yield one
    one.stop()


def sign(keys: Path, *flags: str) -> str:
    answer = segued(keys.parent, "token", "--owner", "ann", *flags, SEGUE_SERVER_SIGNING_KEYS=str(keys))
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("\n") == 1
    return answer.stdout.strip()


def test_json_says_what_the_token_is_for(keys: Path) -> None:
    before = datetime.now(UTC)
    facts = json.loads(sign(keys, "--grant", "watch,compose,watch", "--ttl", "2h", "--json"))
    assert (facts["owner"], facts["grants"]) == ("ann", ["compose", "watch"])
    expires = datetime.fromisoformat(facts["expires"])
    assert timedelta(hours=1, minutes=59) < expires - before < timedelta(hours=2, minutes=1)
    added = json.loads(segued(keys.parent, "token", "--new-key", "keys", "--json").stdout)
    assert added["key_ids"][1:] == [facts["key_id"]]
    assert json.loads(sign(keys, "--json"))["key_id"] == added["key_ids"][0]


@pytest.mark.parametrize("program", ["segued", "segue"])
def test_both_command_lines_send_a_signed_token(program: str, keys: Path, server: Segued, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "segued"] if program == "segued" else [str(segue())]
    for grant, sent, code in (("compose,watch", "file", 0), ("watch", "variable", 0), ("analyze", "file", 4)):
        text = sign(keys, "--grant", grant)
        (tmp_path / "token").write_text(text)
        flags = ("--token-file", "token") if sent == "file" else ()
        answer = subprocess.run(
            [*command, "models", "--server", server.address, *flags],
            cwd=tmp_path,
            env=environment(**({} if flags else {"SEGUE_CLIENT_TOKEN": text})),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert answer.returncode == code, (grant, answer.stderr)
        assert "sketch" in answer.stdout or "needs the grant compose or watch" in answer.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "the token needs an owner"),
        (("--owner", "Ann"), "'Ann' is no owner"),
        (("--owner", "*"), "is no owner"),
        (("--owner", "ann", "--grant", "sing"), "compose,watch,analyze,admin,role"),
        (("--owner", "ann", "--ttl", "31d"), "1s to 30d"),
        (("--owner", "ann", "--ttl", "0"), "1s to 30d"),
        (("--owner", "ann", "--ttl", "2h", "--server-max-token-ttl", "1h"), "1s to 1h"),
        (("--owner", "ann"), "there is no key"),
        (("--owner", "ann", "--server-signing-keys", "nowhere"), "nowhere: No such file"),
        (("--owner", "ann", "--server-signing-keys", "broken"), "broken: line 1"),
        (("--owner", "ann", "--new-key", "other"), "are for tokens"),
        (("--new-key", "broken"), "broken: line 1"),
    ],
)
def test_a_wrong_value_is_a_usage_error(
    flags: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken").write_text("short\n")
    arguments = parser().parse_args(["token", *flags])
    with pytest.raises((CliError, SettingsError)) as caught:
        token.run(settings_of(arguments), arguments)
    assert words in str(caught.value)
    assert not isinstance(caught.value, CliError) or caught.value.code == ExitCode.USAGE
    assert os.listdir(tmp_path) == ["broken"]
    assert (tmp_path / "broken").read_text() == "short\n"
