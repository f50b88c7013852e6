"""Faults between client and server do not change a byte of the files."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.mesh.harness import Segued, processes, spec
from tests.sdk.fault_proxy import KINDS, Fault, faulty_network, random_faults

from segue.audio.v1 import audio_pb2
from segue_client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUM_QUICK, NUM_ALL = 8, 50
ASKED = spec("calm piano, 120 bpm, C major, verse chorus", seconds=6)
# The complete spec: the manifest, and so the tags of the file, contain the request.
ASKED.exports.add(file_format=audio_pb2.FILE_FORMAT_FLAC)
TIME_LIMIT_S = 60


@dataclass(frozen=True)
class RunningServer:
    """A running server, with a piece that was made without faults."""

    runner: asyncio.Runner
    address: str
    name: str
    files: dict[str, bytes]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("undisturbed")
    one = Segued(folder / "home").start()

    async def make() -> str:
        async with Client(one.address) as client:
            composition = await client.compose(ASKED).save(folder / "song.flac")
            await client.watch(composition.name).save_live(folder / "draft.wav")
            return composition.name

    try:
        with asyncio.Runner() as runner:
            name = runner.run(make())
            files = {file: (folder / file).read_bytes() for file in ("song.flac", "draft.wav")}
            yield RunningServer(runner, one.address, name, files)
    finally:
        one.stop()


def fetch(running: RunningServer, faults: list[Fault], folder: Path) -> None:
    """Write both files over a faulty network, and compare them."""

    async def work() -> None:
        async with (
            faulty_network(running.address, faults) as (address, proxy),
            Client(address, silence_s=1.0, patience_s=30) as client,
            asyncio.timeout(TIME_LIMIT_S),
        ):
            await client.watch(running.name).save_live(folder / "draft.wav")
            await client.watch(running.name).save(folder / "song.flac")
            assert proxy.num_connections > 0

    running.runner.run(work())
    for file, content in running.files.items():
        assert (folder / file).read_bytes() == content, file


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_fault_during_the_audio(running: RunningServer, kind: str, tmp_path: Path) -> None:
    fetch(running, [Fault(kind, 500_000, 3), Fault(kind, 700_000, 0)], tmp_path)


@pytest.mark.parametrize(
    "seed",
    [
        *range(NUM_QUICK),
        *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(NUM_QUICK, NUM_ALL)),
    ],
)
def test_random_faults_change_nothing(running: RunningServer, seed: int, tmp_path: Path) -> None:
    fetch(running, random_faults(seed, len(running.files["draft.wav"])), tmp_path)


def test_a_piece_over_a_faulty_network_is_the_same(running: RunningServer, tmp_path: Path) -> None:
    faults = [Fault("refuse"), Fault("cut", 5_000), Fault("corrupt", 90_000, 2), Fault("stall", 300_000)]

    async def work() -> int:
        async with (
            faulty_network(running.address, faults) as (address, proxy),
            Client(address, silence_s=1.0, patience_s=30) as client,
            asyncio.timeout(TIME_LIMIT_S),
        ):
            stream = client.compose(ASKED)
            await stream.save_live(tmp_path / "draft.wav")
            # A channel may open a connection that it does not use, which uses up a fault.
            assert proxy.num_struck >= 2
            return stream.num_resumed

    assert running.runner.run(work()) >= 2
    assert (tmp_path / "draft.wav").read_bytes() == running.files["draft.wav"]


async def test_the_server_is_killed_while_a_file_is_written(running: RunningServer, tmp_path: Path) -> None:
    one = Segued(tmp_path / "home")
    try:
        # SIGKILL ends it before it writes its third piece of audio.
        one.start(failpoints="conductor.before_segment_row=kill*3")
        async with Client(one.address, patience_s=90) as client:
            stream = client.compose(ASKED)
            saving = asyncio.create_task(stream.save_live(tmp_path / "draft.wav"))
            assert await one.ended() == -9
            await asyncio.to_thread(one.start)
            composition = await asyncio.wait_for(saving, TIME_LIMIT_S)
            assert stream.num_resumed
            await client.watch(composition.name).save(tmp_path / "song.flac")
    finally:
        one.stop()
    for file, content in running.files.items():
        assert (tmp_path / file).read_bytes() == content, file


@pytest.mark.slow
async def test_the_gateway_of_a_mesh_is_killed_repeatedly_while_a_file_is_written(
    running: RunningServer, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        mesh = await asyncio.to_thread(stack.enter_context, processes(tmp_path / "home"))
        async with Client(mesh["gateway"].address, patience_s=90, silence_s=3.0) as client:
            stream = client.compose(ASKED)
            saving = asyncio.create_task(stream.save_live(tmp_path / "draft.wav"))
            for _ in range(3):
                await asyncio.sleep(0.5)  # any moment must work
                mesh["gateway"].kill()
                await asyncio.to_thread(mesh["gateway"].start)
            composition = await asyncio.wait_for(saving, TIME_LIMIT_S)
            await client.watch(composition.name).save(tmp_path / "song.flac")
    for file, content in running.files.items():
        assert (tmp_path / file).read_bytes() == content, file
