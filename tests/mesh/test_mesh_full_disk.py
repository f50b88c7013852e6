"""A disk that is nearly full refuses new work and recovers by itself; a piece ends though the store is full."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.mesh.harness import embedded, hear, reach, spec

from segue.composer.v1 import composition_pb2
from segue_audio.files import AudioFileSettings, AudioFileWriter, FileFormat
from segue_client import Access, SegueError
from segue_client.channel import connect
from segue_client.errors import from_status
from segue_runtime import errors, space
from segue_runtime.space import DiskSpace
from segue_runtime.store import events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_client import Client

MIB = 1 << 20
SHORT = spec(seconds=2)


class FreeSpace:
    """The free space that every disk seems to have."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.num_bytes = 1000 * MIB
        monkeypatch.setattr(space, "free_bytes_of", lambda _folder: self.num_bytes)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> FreeSpace:
    return FreeSpace(monkeypatch)


async def health_becomes(address: str, status: int) -> None:
    async with connect(Access(address)) as channel:
        health = cast("Any", health_pb2_grpc.HealthStub(channel))
        asked = health_pb2.HealthCheckRequest(service="segue.composer.v1.ComposerService")
        async for answer in health.Watch(asked):
            if answer.status == status:
                return


@contextmanager
def refused() -> Iterator[None]:
    with pytest.raises(SegueError) as caught:
        yield
    assert caught.value.reason == "STORAGE_FULL"


def test_low_space_is_over_when_there_is_a_quarter_more(tmp_path: Path, free: FreeSpace) -> None:
    reserve = tmp_path / "reserve"
    disk = DiskSpace([tmp_path], reserve, 64 * MIB)
    assert not disk.is_low()
    assert reserve.stat().st_size == 8 * MIB
    for free_mib, is_low in ((64, False), (63, True), (70, True), (79, True), (80, False), (64, False)):
        free.num_bytes = free_mib * MIB
        assert disk.is_low() is is_low
    assert disk.has_room()
    free.num_bytes = 8 * MIB
    assert not disk.has_room()
    assert disk.release_reserve()
    assert not disk.release_reserve()
    free.num_bytes = 79 * MIB
    assert not disk.has_room()  # what the reserve left is for the store
    with pytest.raises(errors.StorageFull):
        disk.check()
    free.num_bytes = 80 * MIB
    disk.check()
    assert disk.has_room()


def test_without_a_low_water_mark_nothing_is_checked(tmp_path: Path, free: FreeSpace) -> None:
    free.num_bytes = 0
    disk = DiskSpace([tmp_path], tmp_path / "reserve", 0)
    disk.check()
    assert disk.has_room()
    assert not (tmp_path / "reserve").exists()


async def test_new_work_is_refused_below_the_mark_and_accepted_again_above_it(tmp_path: Path, free: FreeSpace) -> None:
    async with embedded(tmp_path / "home") as (node, client), asyncio.timeout(90):
        before = (await hear(client.compose(SHORT))).composition
        file = tmp_path / "file"
        file.write_bytes(b"1")
        free.num_bytes = 63 * MIB
        with refused():
            await client.create(SHORT)
        with refused():
            await client.upload(file)
        assert (await hear(client.watch(before.name))).composition.state == composition_pb2.STATE_SUCCEEDED
        assert [each.name async for each in client.compositions()] == [before.name]
        await health_becomes(node.inner, health_pb2.HealthCheckResponse.NOT_SERVING)
        free.num_bytes = 80 * MIB
        await client.upload(file)
        await health_becomes(node.inner, health_pb2.HealthCheckResponse.SERVING)
        assert (await hear(client.compose(SHORT))).composition.state == composition_pb2.STATE_SUCCEEDED


async def test_a_piece_waits_in_the_queue_while_space_is_low(tmp_path: Path, free: FreeSpace) -> None:
    async with (
        embedded(tmp_path / "home", {"conductor.count": "1"}) as (_, client),
        asyncio.timeout(90),
    ):
        blocking = await client.create(spec("calm piano, 120 bpm, C major", seconds=16))
        waiting = await client.create(SHORT)
        await reach(client.watch(blocking.name), "planned")
        free.num_bytes = 63 * MIB
        await hear(client.watch(blocking.name))
        assert (await client.get(waiting.name)).state == composition_pb2.STATE_QUEUED
        free.num_bytes = 80 * MIB
        heard = await hear(client.watch(waiting.name))
        assert heard.composition.state == composition_pb2.STATE_SUCCEEDED


@pytest.mark.only_shape("embedded", "the reserve is for the database file")
@pytest.mark.usefixtures("free")
async def test_the_reserve_makes_room_for_the_terminal_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, is_full, append = tmp_path / "home", False, events.append

    def append_if_there_is_room(*values: object, **more: object) -> object:
        if is_full and (home / "segue.db-reserve").exists():
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorname = "SQLITE_FULL"
            raise error
        return append(*values, **more)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(events, "append", append_if_there_is_room)
    async with embedded(home, {"failpoints.active": "conductor.after_take=sleep(300ms)"}) as (_, client):
        created = await client.create(SHORT)
        await reach(client.watch(created.name), "planned")
        is_full = True
        heard = await asyncio.wait_for(hear(client.watch(created.name)), 60)
        assert heard.composition.state == composition_pb2.STATE_FAILED
        assert from_status(heard.composition.error).reason == "STORAGE_FULL"
        is_full = False
        await works_again(client)


async def works_again(client: Client) -> None:
    assert (
        await asyncio.wait_for(hear(client.compose(SHORT)), 60)
    ).composition.state == composition_pb2.STATE_SUCCEEDED


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("kind", list(FileFormat))
def test_an_encoder_without_space_raises_the_error_of_the_disk(tmp_path: Path, kind: FileFormat) -> None:
    for suffix in (".part", ".part.enc"):
        (tmp_path / f"file{suffix}").symlink_to("/dev/full")
    settings = AudioFileSettings(file_format=kind, channels=2, sample_rate=48_000)
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, (48_000, 2)).astype(np.float32)

    def encode() -> None:
        with AudioFileWriter(tmp_path / "file", settings) as file:
            for _ in range(20):
                file.write(noise)

    with pytest.raises(OSError, match=str(errno.ENOSPC)):
        encode()
