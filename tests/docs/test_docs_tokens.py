"""The commands of docs/operating.md about tokens, as a session of an operator runs them."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.daemon.segued_command import environment

from segue_runtime.callers import Caller, Grant
from segue_runtime.rpc.admission.tokens_file import callers_of
from segue_runtime.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text("utf-8")
LIMIT_S = 60
SERVE = "segued serve"


def commands_of(heading: str) -> list[str]:
    """Return the commands of one part of the page."""
    part = re.split(
        r"^#+ ", re.split(rf"^#+ {heading}\n", PAGE, maxsplit=1, flags=re.MULTILINE)[1], maxsplit=1, flags=re.MULTILINE
    )[0]
    blocks = re.findall(r"^```console\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
    found = [line for block in blocks for line in re.split(r"^\$ ", block, flags=re.MULTILINE) if line.strip()]
    assert found
    return found


def test_the_settings_of_the_identity_provider_exist(tmp_path: Path) -> None:
    block = re.search(r"```toml\n(\[server\.jwt\].*?)```", PAGE, re.DOTALL)
    assert block is not None
    (tmp_path / "segue.toml").write_text(block[1])
    found = load({"home": str(tmp_path)}, environ={}, folder=tmp_path).server.jwt
    assert (found.audience, found.owner_claim, found.grants_claim) == ("segue", "sub", "")
    assert found.is_used


def variables() -> dict[str, str]:
    return environment(PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))


def run(folder: Path, command: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder, env=variables(), capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@contextlib.contextmanager
def serving(folder: Path, command: str) -> Iterator[str]:
    """Run a `segued serve` of the page at a free port; yield its address."""
    command = f"exec {command} --listen 127.0.0.1:0 --home {folder}/home"
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            ["bash", "-c", command], cwd=folder, env=variables(), stdout=subprocess.PIPE, stderr=log, text=True
        ) as server,
    ):
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert "ready on" in line
            yield line.split()[-1]
        finally:
            server.terminate()
            server.wait(LIMIT_S)


@pytest.mark.reference("openssl")
def test_the_commands_make_a_line_of_the_tokens_file(tmp_path: Path) -> None:
    run(tmp_path, "\n".join(commands_of("Tokens in a file")))
    (caller,) = callers_of((tmp_path / "tokens").read_text()).values()
    assert caller == Caller("ann", frozenset({Grant.WATCH}))


@pytest.mark.timeout(180)
@pytest.mark.reference("openssl")
def test_the_commands_make_a_certificate_that_the_server_takes_for_an_owner(tmp_path: Path) -> None:
    run(tmp_path, commands_of("TLS and tokens")[0])
    *make, serve, use = commands_of("Certificates")
    run(tmp_path, "\n".join(make))
    with serving(tmp_path, serve.strip()) as address:
        port = address.rpartition(":")[2]
        assert "sketch" in run(tmp_path, use.replace("7300", port))
    log = (tmp_path / "log").read_text()
    assert '"owner": "alice"' in log


@pytest.mark.timeout(180)
def test_the_commands_sign_a_token_that_the_server_accepts_also_after_a_rotation(tmp_path: Path) -> None:
    make_key, serve, sign, use, rotate = commands_of("Signed tokens")
    assert serve.startswith(SERVE)
    run(tmp_path, make_key)
    with serving(tmp_path, serve.strip()) as address:
        for _ in range(2):
            run(tmp_path, sign)
            assert "sketch" in run(tmp_path, use.replace("127.0.0.1:7300", address))
            run(tmp_path, rotate)
    assert len((tmp_path / "signing-keys").read_text().splitlines()) == 3
