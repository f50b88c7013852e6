"""`segued tenant`, and what a refusal of a limit looks like on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.daemon.segued_command import segued

from segue_client import SegueError
from segued.exits import ExitCode, cli_error

if TYPE_CHECKING:
    from pathlib import Path

TABLE = '[default]\nqueued = 20\n[tenants.alice]\nweight = 3\npriority = "high"\nmodels = ["sketch", "musicgen-*"]\n'


def test_the_table_is_shown_as_a_gateway_reads_it(tmp_path: Path) -> None:
    (tmp_path / "tenants.toml").write_text(TABLE)
    flag = ("--limits-tenants-file", "tenants.toml")
    listed = segued(tmp_path, "tenant", "list", *flag)
    assert listed.stdout.splitlines() == [
        "default: weight 1, priority normal, queued 20",
        "alice: weight 3, priority high, queued 20, models sketch musicgen-*",
    ]
    shown = segued(tmp_path, "tenant", "show", "bob", "--json", *flag)
    assert json.loads(shown.stdout)["bob"]["queued"] == 20
    for arguments in (("show",), ("list", "alice"), ("show", "No One")):
        assert segued(tmp_path, "tenant", *arguments, *flag).returncode == ExitCode.USAGE


def test_a_wrong_table_stops_the_start_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "tenants.toml").write_text("[tenants.alice]\nweigth = 3\n")
    for command in (("tenant", "list"), ("serve", "--listen", "127.0.0.1:0", "--home", "home")):
        ended = segued(tmp_path, *command, "--limits-tenants-file", "tenants.toml", "--log-level", "error")
        assert ended.returncode == ExitCode.USAGE
        (line,) = ended.stderr.splitlines()
        assert "limits.tenants_file: tenants.toml: tenants.alice.weigth: no such limit; did you mean weight?" in line


@pytest.mark.parametrize(
    ("retry_s", "hint"),
    [(39.5, "try again in 40 s"), (1800.0, "try again in 30 min"), (30_000.0, "try again in 9 h"), (None, "")],
)
def test_a_limit_is_busy_with_the_time_to_wait(retry_s: float | None, hint: str) -> None:
    code, text = grpc.StatusCode.RESOURCE_EXHAUSTED, "20 of your jobs wait, and 20 may"
    shown = cli_error(SegueError(code, text, "QUOTA_EXCEEDED", {"unit": "queued"}, (), retry_s))
    assert (shown.code, shown.text, shown.hint) == (ExitCode.BUSY, text, hint)
