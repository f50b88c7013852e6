"""`segued list`, `cancel` and `doctor`: what a server has, and whether what the settings name answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from tests.daemon.segued_command import segued
from tests.mesh.harness import Segued, free_port
from tests.runtime.redis_server import PROGRAM, running_redis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segued]:
    one = Segued(tmp_path_factory.mktemp("server")).start()
    yield one
    one.stop()


def test_analyses_are_listed_and_an_ended_one_is_not_cancelled(tmp_path: Path, server: Segued) -> None:
    at = ("--server", server.address)
    soundfile.write(tmp_path / "a.wav", np.full((44_100, 2), 0.1, np.float32), 44_100)
    assert "no analyses" in segued(tmp_path, "list", "analyses", *at).stderr
    assert segued(tmp_path, "analyze", "a.wav", "a.wav", *at).returncode == 0
    lines = segued(tmp_path, "list", "analyses", "--json", *at).stdout.splitlines()
    names = [json.loads(line)["name"] for line in lines]
    assert len(names) == 2
    (line,) = segued(
        tmp_path, "list", "analyses", "-n", "1", "--filter", 'state = "SUCCEEDED"', *at
    ).stdout.splitlines()
    assert line.split()[0] == names[0]
    assert "succeeded" in line
    answer = segued(tmp_path, "cancel", *names, *at)
    assert answer.returncode == 0
    assert answer.stderr.splitlines() == [f"{name} has already ended (succeeded)" for name in names]
    assert segued(tmp_path, "cancel", "analyses/0123456789", *at).returncode == 4
    assert segued(tmp_path, "list", "uploads", "--filter", "x", *at).returncode == 4


def checks(answer: str) -> dict[str, bool]:
    return {line["check"]: line["ok"] for line in map(json.loads, answer.splitlines())}


@pytest.mark.reference(PROGRAM)
def test_the_doctor_checks_the_redis_of_the_bridge(tmp_path: Path, server: Segued) -> None:
    with running_redis(password="sesame") as redis:
        bridge = ("doctor", "--json", "--home", str(tmp_path), "--server", server.address, "--bridge-root", ".")
        good = segued(tmp_path, *bridge, SEGUE_BRIDGE_URL=f"redis://:sesame@127.0.0.1:{redis.port}/0")
        assert (good.returncode, set(checks(good.stdout).values())) == (0, {True}), good.stdout
        assert "0 jobs wait in audio_analysis_queue" in good.stdout
        wrong = segued(tmp_path, *bridge, SEGUE_BRIDGE_URL=f"redis://:other@127.0.0.1:{redis.port}/0")
        assert wrong.returncode == 3
        well = dict.fromkeys(("server", "home", "store", "artifacts"), True)
        assert checks(wrong.stdout) == {**well, "bridge": False}
        assert "other" not in wrong.stdout + wrong.stderr


@pytest.mark.parametrize(
    ("flags", "check", "code"),
    [
        (("--server", "127.0.0.1:{port}"), "server", 3),
        (("--bridge-url", "redis://127.0.0.1:{port}", "--bridge-root", "."), "bridge", 3),
        (("--bridge-url", "redis://127.0.0.1:{port}"), "bridge", 2),
        (("--bridge-url", "redis://127.0.0.1:{port}", "--bridge-root", "missing"), "bridge", 2),
        (("--bridge-url", "redis://127.0.0.1:{port}", "--bridge-hosts", "*"), "bridge", 2),
        (("--bridge-url", "http://127.0.0.1:{port}", "--bridge-root", "."), "bridge", 2),
        (("--store-backend", "redis", "--store-url", "redis://127.0.0.1:{port}"), "store", 3),
    ],
)
def test_the_doctor_says_what_is_wrong(tmp_path: Path, flags: tuple[str, ...], check: str, code: int) -> None:
    given = [flag.format(port=free_port()) for flag in flags]
    answer = segued(tmp_path, "doctor", "--json", "--home", str(tmp_path), *given)
    assert answer.returncode == code
    assert [name for name, ok in checks(answer.stdout).items() if not ok] == [check]
    assert "Traceback" not in answer.stderr
