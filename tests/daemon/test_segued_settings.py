"""Settings of `segued`: flags override SEGUE_* variables, segue.toml and defaults; unknown settings are errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.daemon.segued_command import segued

if TYPE_CHECKING:
    from pathlib import Path


def shown(folder: Path, *arguments: str, **more: str) -> dict[str, tuple[str, str]]:
    """Return the output of `segued config --json`: value and origin by key."""
    answer = segued(folder, "config", "--json", *arguments, **more)
    assert answer.returncode == 0, answer.stderr
    return {each["key"]: (each["value"], each["origin"]) for each in json.loads(answer.stdout)}


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    assert shown(tmp_path)["queue.limit"] == ("64", "default")
    (tmp_path / "segue.toml").write_text("[queue]\nlimit = 5\n")
    value, origin = shown(tmp_path)["queue.limit"]
    assert (value, "segue.toml" in origin) == ("5", True)
    value, origin = shown(tmp_path, SEGUE_QUEUE_LIMIT="6")["queue.limit"]
    assert (value, "SEGUE_QUEUE_LIMIT" in origin) == ("6", True)
    value, origin = shown(tmp_path, "--queue-limit", "7", SEGUE_QUEUE_LIMIT="6")["queue.limit"]
    assert (value, "--queue-limit" in origin) == ("7", True)


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    for arguments in (("--json",), ()):
        answer = segued(tmp_path, "config", *arguments, SEGUE_SERVER_TOKEN="hush-hush-hush-hush")
        assert answer.returncode == 0
        assert "server.token" in answer.stdout
        assert "hush" not in answer.stdout


def test_the_address_of_the_store_is_not_shown(tmp_path: Path) -> None:
    url = {"SEGUE_STORE_BACKEND": "redis", "SEGUE_STORE_URL": "redis://ann:hush-hush@127.0.0.1:1"}
    answer = segued(tmp_path, "config", **url)
    assert "store.url" in answer.stdout
    assert "hush" not in answer.stdout
    for command in (("serve",), ("gc",), ("store", "repair")):  # nothing listens at that port
        answer = segued(tmp_path, *command, "--home", "home", **url)
        assert answer.returncode == 1
        assert "Redis does not answer" in answer.stderr
        assert "hush" not in answer.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"SEGUE_STORE_BACKEND": "redis"}, "needs the URL"),
        ({"SEGUE_STORE_URL": "redis://localhost"}, "store.backend = redis only"),
        (
            {"SEGUE_STORE_BACKEND": "redis", "SEGUE_STORE_URL": "redis://localhost", "SEGUE_STORE_PATH": "x.db"},
            "no database file",
        ),
    ],
)
def test_settings_of_the_other_store_are_refused(tmp_path: Path, settings: dict[str, str], words: str) -> None:
    answer = segued(tmp_path, "serve", "--home", "home", **settings)
    assert answer.returncode == 2
    assert words in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "more", "toml", "words"),
    [
        (("--queue-limt", "3"), {}, "", "did you mean --queue-limit?"),
        ((), {"SEGUE_QUEUE_LIMT": "3"}, "", "SEGUE_QUEUE_LIMIT"),
        ((), {}, "[queue]\nlimt = 3\n", "limit"),
        ((), {}, "[qeue]\nlimit = 3\n", "queue"),
        ((), {}, "[queue\n", "segue.toml"),
        (("--queue-limit", "many"), {}, "", "queue.limit"),
        (("--queue-limit", "0"), {}, "", "queue.limit"),
        ((), {"SEGUE_LOG_LEVEL": "loud"}, "", "debug, info, warning, error"),
    ],
)
def test_an_unknown_setting_is_an_error_with_a_suggestion(
    tmp_path: Path, arguments: tuple[str, ...], more: dict[str, str], toml: str, words: str
) -> None:
    if toml:
        (tmp_path / "segue.toml").write_text(toml)
    answer = segued(tmp_path, "config", *arguments, **more)
    assert answer.returncode == 2
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""


def test_help_names_every_command_and_version_what_bytes_depend_on(tmp_path: Path) -> None:
    answer = segued(tmp_path, "--help")
    assert answer.returncode == 0
    for command in ("serve", "compose", "plan", "analyze", "models", "health", "config", "version"):
        assert f"\n    {command} " in answer.stdout, command
    versions = json.loads(segued(tmp_path, "version", "--json").stdout)
    assert {"segue", "python", "grpcio", "numpy"} <= versions.keys()
    assert segued(tmp_path).returncode == 2


def test_a_model_for_a_backend_without_models_is_refused(tmp_path: Path) -> None:
    answer = segued(tmp_path, "serve", "--model", "musicgen-small")
    assert answer.returncode == 2
    assert "the backend sketch has no model" in answer.stderr
    assert "--renderer musicgen" in answer.stderr
