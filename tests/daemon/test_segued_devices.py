"""`segued serve --role renderer --device cpu:2`: a process for each device, started again, given up, never orphaned."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import psutil
import pytest
from tests.daemon.segued_command import segued
from tests.mesh.harness import Segued, free_port

from segue.composer.v1 import composer_pb2, composer_pb2_grpc
from segue.renderer.v1 import renderer_pb2
from segued.serve.devices.devices import devices_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from segue.renderer.v1.renderer_pb2 import GetStatusResponse

LIMIT_S = 200
READY, FAILED = renderer_pb2.RENDERER_STATE_READY, renderer_pb2.RENDERER_STATE_FAILED


@contextlib.asynccontextmanager
async def supervised(folder: Path, mesh: Segued) -> AsyncIterator[psutil.Process]:
    """Run two renderer processes and their supervisor, with one free port for each of them."""
    arguments = ("--role", "renderer", "--device", "cpu:2", "--listen", "127.0.0.1:0", "--renderer-join", mesh.address)
    command = [sys.executable, "-m", "segued", "serve", *arguments, "--home", str(folder), "--server-drain", "2s"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, cwd=folder)
    assert process.stdout is not None
    parent = psutil.Process(process.pid)
    try:
        line = (await process.stdout.readline()).decode()
        assert line.startswith("segued renderer ready on 127.0.0.1:")
        assert line.count("127.0.0.1:") == 2
        yield parent
    finally:
        children = parent.children() if parent.is_running() else []
        for each in children:
            each.kill()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def until(address: str, condition: Callable[[Sequence[GetStatusResponse]], bool]) -> None:
    """Wait until the renderers of a mesh, without its own, are as expected."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = composer_pb2_grpc.ComposerServiceStub(channel)
        while not condition((await stub.GetStats(composer_pb2.GetStatsRequest())).renderers):  # noqa: ASYNC110 - as below
            await asyncio.sleep(0.1)


def ready(count: int) -> Callable[[Sequence[GetStatusResponse]], bool]:
    return lambda found: sum(each.state == READY and each.slots == 1 for each in found) == count


@pytest.mark.timeout(LIMIT_S + 60)
async def test_each_device_has_a_process_that_is_started_again_and_given_up(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    mesh = Segued(tmp_path / "mesh", "--renderer-addresses", nobody)
    try:
        mesh.start()
        async with asyncio.timeout(LIMIT_S), supervised(tmp_path, mesh) as parent:
            await until(mesh.address, ready(2))
            first, other = parent.children()
            first.kill()
            await until(mesh.address, ready(1))
            await until(mesh.address, ready(2))
            while not any(each.state == FAILED for each in await _renderers(mesh.address)):
                for each in parent.children():
                    if each != other:
                        each.kill()
                await asyncio.sleep(0.2)
            await until(mesh.address, ready(1))
            parent.kill()
            while other.is_running() and other.status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110 - no child of ours
                await asyncio.sleep(0.1)
            await until(mesh.address, ready(0))
    finally:
        mesh.stop()


@pytest.mark.timeout(LIMIT_S)
async def test_sigterm_ends_all_processes(tmp_path: Path) -> None:
    mesh = Segued(tmp_path)  # it is not started: a renderer is ready without a pool
    async with supervised(tmp_path, mesh) as parent:
        children = parent.children()
        parent.terminate()
        while parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110 - asyncio has its exit code
            await asyncio.sleep(0.1)
        assert len(children) == 2
        assert not any(each.is_running() for each in children)


async def _renderers(address: str) -> Sequence[GetStatusResponse]:
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = composer_pb2_grpc.ComposerServiceStub(channel)
        answer: composer_pb2.GetStatsResponse = await stub.GetStats(composer_pb2.GetStatsRequest())
        return answer.renderers


async def test_the_cards_of_the_environment_are_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c")
    everything = await devices_of("cuda:all")
    assert [each.environment["CUDA_VISIBLE_DEVICES"] for each in everything] == ["GPU-a", "GPU-b", "GPU-c"]
    assert [(each.name, *each.environment.values()) for each in await devices_of("cuda:2,0")] == [
        ("cuda:2", "GPU-c"),
        ("cuda:0", "GPU-a"),
    ]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--role", "renderer", "--device", "cpu:2"), "renderer.devices needs renderer.join"),
        (("--role", "renderer", "--device", "tpu:2", "--renderer-join", "127.0.0.1:1"), "write cuda:all"),
        (("--device", "cpu:2"), "add --role renderer"),
    ],
)
def test_a_wrong_device_is_refused_with_what_is_right(flags: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    answer = segued(tmp_path, "serve", *flags, "--home", str(tmp_path))
    assert answer.returncode == 2
    assert expected in answer.stderr
