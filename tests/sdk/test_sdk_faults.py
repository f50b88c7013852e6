"""Between client and server everything breaks that can break; the files are the same to the byte."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.mesh.house import Segued, processes, spec
from tests.sdk.wrecker import KINDS, Fault, random_faults, wrecked

from segue.audio.v1 import audio_pb2
from segue_client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUM_QUICK, NUM_ALL = 8, 50
ASKED = spec("calm piano, 120 bpm, C major, verse chorus", seconds=6)
# Said in full: the manifest, and with it the file's tags, names what was asked for.
ASKED.exports.add(file_format=audio_pb2.FILE_FORMAT_FLAC)
TIME_LIMIT_S = 60


@dataclass(frozen=True)
class House:
    """A server that runs, with a piece that was made without a disturbance."""

    runner: asyncio.Runner
    address: str
    name: str
    files: dict[str, bytes]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
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
            yield House(runner, one.address, name, files)
    finally:
        one.stop()


def fetch(house: House, faults: list[Fault], folder: Path) -> None:
    """Write both files over a wrecked way, and compare."""

    async def work() -> None:
        async with (
            wrecked(house.address, faults) as (address, wrecker),
            Client(address, silence_s=1.0, patience_s=30) as client,
            asyncio.timeout(TIME_LIMIT_S),
        ):
            await client.watch(house.name).save_live(folder / "draft.wav")
            await client.watch(house.name).save(folder / "song.flac")
            assert wrecker.num_connections > 0

    house.runner.run(work())
    for file, content in house.files.items():
        assert (folder / file).read_bytes() == content, file


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_fault_in_the_middle_of_the_sound(house: House, kind: str, tmp_path: Path) -> None:
    fetch(house, [Fault(kind, 500_000, 3), Fault(kind, 700_000, 0)], tmp_path)


@pytest.mark.parametrize(
    "seed",
    [
        *range(NUM_QUICK),
        *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(NUM_QUICK, NUM_ALL)),
    ],
)
def test_random_faults_change_nothing(house: House, seed: int, tmp_path: Path) -> None:
    fetch(house, random_faults(seed, len(house.files["draft.wav"])), tmp_path)


def test_a_piece_that_is_made_behind_a_wrecked_way_is_the_same(house: House, tmp_path: Path) -> None:
    faults = [Fault("refuse"), Fault("cut", 5_000), Fault("corrupt", 90_000, 2), Fault("stall", 300_000)]

    async def work() -> int:
        async with (
            wrecked(house.address, faults) as (address, wrecker),
            Client(address, silence_s=1.0, patience_s=30) as client,
            asyncio.timeout(TIME_LIMIT_S),
        ):
            stream = client.compose(ASKED)
            await stream.save_live(tmp_path / "draft.wav")
            # A channel may open a connection that it does not use, and waste a fault on it.
            assert wrecker.num_struck >= 2
            return stream.num_resumed

    assert house.runner.run(work()) >= 2
    assert (tmp_path / "draft.wav").read_bytes() == house.files["draft.wav"]


async def test_the_server_is_killed_while_a_file_is_written(house: House, tmp_path: Path) -> None:
    one = Segued(tmp_path / "home")
    try:
        # It dies by SIGKILL before it writes its third piece of sound.
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
    for file, content in house.files.items():
        assert (tmp_path / file).read_bytes() == content, file


@pytest.mark.slow
async def test_the_gateway_of_a_mesh_is_killed_again_and_again_while_a_file_is_written(
    house: House, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        mesh = await asyncio.to_thread(stack.enter_context, processes(tmp_path / "home"))
        async with Client(mesh["gateway"].address, patience_s=90, silence_s=3.0) as client:
            stream = client.compose(ASKED)
            saving = asyncio.create_task(stream.save_live(tmp_path / "draft.wav"))
            for _ in range(3):
                await asyncio.sleep(0.5)  # whenever it is: any moment must do
                mesh["gateway"].kill()
                await asyncio.to_thread(mesh["gateway"].start)
            composition = await asyncio.wait_for(saving, TIME_LIMIT_S)
            await client.watch(composition.name).save(tmp_path / "song.flac")
    for file, content in house.files.items():
        assert (tmp_path / file).read_bytes() == content, file
