"""`make fleet`: it starts every process, serves callers at both gateways, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.fleet.members import MEMBERS, RENDERERS
from tests.mesh.harness import hear, spec

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.reference("redis-server", "versitygw"), pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]
SERVERS = ("redis", "s3")


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.fleet", "--folder", str(tmp_path / "fleet")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    found = process.stdout.readline()
    assert found
    return found


async def test_every_process_serves_and_ends_with_ctrl_c(starter: subprocess.Popen[str], tmp_path: Path) -> None:
    logs = line(starter).split()[-1]
    addresses = dict(line(starter).split(maxsplit=1) for _ in (*SERVERS, *MEMBERS))
    assert list(addresses) == [*SERVERS, *MEMBERS]
    assert "ready" in line(starter)
    hint = line(starter).split()
    assert hint[-1] == addresses["gateway-1"].strip()
    async with Client(addresses["gateway-1"].strip()) as one, Client(addresses["gateway-2"].strip()) as other:
        created = await one.create(spec(seconds=4))
        heard = await hear(other.watch(created.name, audio=stream_pb2.AUDIO_SELECTION_DRAFT))
        assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
        assert len((await one.stats()).renderers) == len(RENDERERS)
    assert {path.stem for path in Path(logs).iterdir()} == set(MEMBERS)
    children = psutil.Process(starter.pid).children(recursive=True)
    assert len(children) == len(addresses)
    # Each is the leader of a session, so that Ctrl-C reaches the starter alone.
    assert all(os.getsid(child.pid) == child.pid for child in children)
    starter.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(starter.wait, 60) == 0
    assert not any(child.is_running() for child in children)
    # No role has memory of a folder that others need: only the storage is shared.
    assert not list((tmp_path / "fleet").glob("*/segue.db"))


def test_ctrl_c_during_the_start_leaves_nothing_behind(starter: subprocess.Popen[str]) -> None:
    while "planner" not in line(starter):
        pass
    children = psutil.Process(starter.pid).children(recursive=True)
    assert len(children) == len(SERVERS) + len(MEMBERS)
    starter.send_signal(signal.SIGINT)
    starter.send_signal(signal.SIGINT)
    assert starter.wait(60) == 0
    assert not any(child.is_running() for child in children)


@pytest.mark.reference("setpriv")
@pytest.mark.parametrize("moment", ["redis", "ready"])
def test_kill_9_of_the_starter_leaves_nothing_behind(starter: subprocess.Popen[str], moment: str) -> None:
    while moment not in line(starter):
        pass
    children = psutil.Process(starter.pid).children(recursive=True)
    starter.kill()
    assert children
    _, left = psutil.wait_procs(children, 60)
    assert not left


def test_a_missing_program_is_named_with_the_way_to_install_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fleet", "--folder", str(tmp_path / "fleet")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={"PATH": ""}, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: redis-server is missing; install it: apt-get install redis-server")
    assert not ended.stdout
