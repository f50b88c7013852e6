"""Full and read-only disks: the composition fails with the reason, no partial file is visible, and the server
continues as soon as there is space."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.mesh.harness import Heard, Segued, hear, reach, spec

from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2
from segue_client import Client, SegueError
from segue_client.errors import from_status

if TYPE_CHECKING:
    from collections.abc import Iterator

BOTH = stream_pb2.AUDIO_SELECTION_BOTH
SHORT = spec(seconds=2)
LONG = spec("calm piano, 120 bpm, C major", seconds=16, stems=True)
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="limits and mounts of another process are Linux's")


@pytest.fixture
def segued(tmp_path: Path) -> Iterator[Segued]:
    one = Segued(tmp_path / "home")
    try:
        yield one
    finally:
        one.stop()


async def fails(client: Client, asked: spec_pb2.CompositionSpec) -> tuple[Heard, SegueError]:
    """Compose and expect the same failure in the stream and in the status of the call."""
    heard = Heard()
    with pytest.raises(SegueError) as caught:
        await asyncio.wait_for(hear(client.compose(asked, audio=BOTH), heard), 90)
    assert heard.composition.state == composition_pb2.STATE_FAILED
    assert heard.kinds.count("finished") == 1
    return heard, caught.value


async def everything_announced_is_whole(client: Client, composition: composition_pb2.Composition) -> None:
    for output in composition.outputs:
        content = b"".join([piece async for piece in client.read(output)])
        assert len(content) == output.size_bytes


def partial_files(folder: Path) -> list[str]:
    """Return the names of unfinished files."""
    return sorted(path.name for path in (folder / ".partial").iterdir())


# The limit decides which file is too large: a take, a segment of the draft, or a file of the master.
@ON_LINUX
@pytest.mark.parametrize("kilobytes", [*(pytest.param(size, marks=pytest.mark.slow) for size in (600, 6500)), 2500])
async def test_a_file_that_cannot_grow_fails_the_composition_and_nothing_else(segued: Segued, kilobytes: int) -> None:
    segued.start()
    assert segued.process is not None
    async with Client(segued.address, patience_s=20) as client:
        before = await asyncio.wait_for(hear(client.compose(SHORT, audio=BOTH)), 60)
        _, hard = resource.prlimit(segued.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(segued.process.pid, resource.RLIMIT_FSIZE, (kilobytes << 10, hard))
        try:
            heard, error = await fails(client, LONG)
            assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL")
            await everything_announced_is_whole(client, heard.composition)
        finally:
            resource.prlimit(segued.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert partial_files(segued.home / "artifacts") == []
        # Earlier files are still there, and the next composition succeeds.
        assert (await hear(client.watch(before.composition.name, audio=BOTH))).digests() == before.digests()
        after = await asyncio.wait_for(hear(client.compose(LONG, audio=BOTH)), 90)
        assert after.composition.state == composition_pb2.STATE_SUCCEEDED
        await everything_announced_is_whole(client, after.composition)


class OnSmallDisk(Segued):
    """A server in a mount namespace of its own, with a small disk at `disk`."""

    def __init__(self, home: Path, disk: Path, megabytes: int, *flags: str) -> None:
        super().__init__(home, "--store-low-water", "0", *flags)
        self.disk = disk
        disk.mkdir(parents=True)
        mount = f'mount -t tmpfs -o size={megabytes}m tmpfs "$0" && exec "$@"'
        self.wrapper = ["unshare", "-rm", "sh", "-c", mount, str(disk)]

    def command(self) -> list[str]:
        return [*self.wrapper, *super().command()]

    @property
    def seen(self) -> Path:
        """The disk as this process sees it."""
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}/root") / self.disk.relative_to("/")

    def fill(self) -> None:
        """Fill the disk."""
        with contextlib.suppress(OSError), (self.seen / "filler").open("wb") as filler:
            while True:
                filler.write(bytes(65_536))
                filler.flush()

    def free(self) -> None:
        (self.seen / "filler").unlink()

    def remount(self, mode: str) -> None:
        assert self.process is not None
        inside = ["nsenter", "--preserve-credentials", "-U", "-m", "-t", str(self.process.pid)]
        subprocess.run([*inside, "mount", "-o", f"remount,{mode}", str(self.disk)], check=True)


def can_mount() -> bool:
    if not all(map(shutil.which, ("unshare", "nsenter", "mount"))):
        return False
    tried = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    )
    return tried.returncode == 0


needs_mounts = pytest.mark.skipif(not can_mount(), reason="no mount namespace for us here (unshare -rm)")


@pytest.mark.only_shape("embedded", "it is about the disk of the store's file")
@ON_LINUX
@needs_mounts
async def test_a_full_artifact_disk_fails_the_composition_until_there_is_space(tmp_path: Path) -> None:
    segued = OnSmallDisk(tmp_path / "home", tmp_path / "disk", 12, "--artifacts-path", str(tmp_path / "disk" / "a"))
    try:
        segued.start()
        async with Client(segued.address, patience_s=20) as client:
            before = await asyncio.wait_for(hear(client.compose(SHORT, audio=BOTH)), 60)
            heard, error = await fails(client, LONG)
            assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL")
            assert "disk" not in str(segued.disk.name) or str(segued.disk) not in error.message
            await everything_announced_is_whole(client, heard.composition)
            assert partial_files(segued.seen / "a") == []
            await client.delete(heard.composition.name)
            after = await asyncio.wait_for(hear(client.compose(spec(seconds=2, seed=9), audio=BOTH)), 60)
            assert after.composition.state == composition_pb2.STATE_SUCCEEDED
            assert (await hear(client.watch(before.composition.name, audio=BOTH))).digests() == before.digests()
    finally:
        segued.stop()


@pytest.mark.only_shape("embedded", "it is about the disk of the store's file")
@ON_LINUX
@needs_mounts
async def test_a_full_store_refuses_until_there_is_space(tmp_path: Path) -> None:
    artifacts = str(tmp_path / "artifacts")
    segued = OnSmallDisk(tmp_path / "home", tmp_path / "disk", 3, "--artifacts-path", artifacts)
    segued.flags += ("--store-path", str(tmp_path / "disk" / "segue.db"), "--queue-limit", "1000")
    try:
        segued.start(failpoints="conductor.after_take=sleep(700ms)")
        async with Client(segued.address, patience_s=60) as client:
            before = await asyncio.wait_for(hear(client.compose(SHORT, audio=BOTH)), 60)
            running = await client.create(LONG)
            listening = asyncio.create_task(hear(client.watch(running.name, audio=BOTH)))
            await reach(client.watch(running.name), "planned")
            segued.fill()
            with pytest.raises(SegueError) as caught:
                await create_many(client)
            assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL")
            # Reading works.
            assert (await client.get(before.composition.name)).state == composition_pb2.STATE_SUCCEEDED
            assert (await hear(client.watch(before.composition.name, audio=BOTH))).digests() == before.digests()
            segued.free()
            # No row of the log was lost: the work continues at its checkpoint.
            heard = await asyncio.wait_for(listening, 90)
            if heard.composition.state == composition_pb2.STATE_FAILED:
                # It failed with the full disk, and there was space again when its end was written.
                assert from_status(heard.composition.error).reason == "STORAGE_FULL"
                heard = await asyncio.wait_for(hear(client.compose(LONG, audio=BOTH)), 90)
            assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
            assert len(heard.draft) == len(heard.master) == heard.composition.plan.frames * 8
    finally:
        segued.stop()


@pytest.mark.only_shape("embedded", "it is about the disk of the store's file")
@ON_LINUX
@needs_mounts
async def test_a_piece_ends_though_the_disk_of_the_store_is_full(tmp_path: Path) -> None:
    """The reserve makes room for its terminal event."""
    disk = tmp_path / "disk"
    segued = OnSmallDisk(tmp_path / "home", disk, 32, "--store-path", str(disk / "segue.db"))
    segued.flags += ("--artifacts-path", str(disk / "a"), "--store-low-water", "8MiB")
    try:
        segued.start(failpoints="conductor.after_take=sleep(700ms)")
        async with Client(segued.address, patience_s=20) as client:
            running = await client.create(LONG)
            watching = asyncio.create_task(hear(client.watch(running.name)))
            await reach(client.watch(running.name), "planned")
            segued.fill()
            heard = await asyncio.wait_for(watching, 90)
            assert heard.composition.state == composition_pb2.STATE_FAILED
            assert from_status(heard.composition.error).reason == "STORAGE_FULL"
            assert heard.kinds.count("finished") == 1
            with pytest.raises(SegueError) as caught:
                await client.create(SHORT)
            assert caught.value.reason == "STORAGE_FULL"
            assert len((segued.home / "all.log").read_bytes()) < 100_000
            await client.delete(running.name)
            segued.free()
            after = await asyncio.wait_for(hear(client.compose(SHORT, audio=BOTH)), 60)
            assert after.composition.state == composition_pb2.STATE_SUCCEEDED
    finally:
        segued.stop()


async def create_many(client: Client) -> None:
    """Create compositions until the store is full: some database pages may still have space."""
    for seed in range(500):
        await client.create(spec("calm piano " * 300, seconds=2, seed=seed))


@pytest.mark.slow
@pytest.mark.only_shape("embedded", "it is about the disk of the store's file")
@ON_LINUX
@needs_mounts
async def test_work_waits_for_a_disk_that_is_read_only_for_a_while(tmp_path: Path) -> None:
    segued = OnSmallDisk(tmp_path / "home", tmp_path / "disk", 40, "--artifacts-path", str(tmp_path / "disk" / "a"))
    try:
        segued.start()
        async with Client(segued.address, patience_s=60) as client:
            segued.remount("ro")
            created = await client.create(SHORT)
            heard = Heard()
            async for update in client.watch(created.name, audio=BOTH):
                heard.take(update)
                if update.kind == "section_retried" and heard.kinds.count("section_retried") == 1:
                    assert update.event.section_retried.error.code == grpc.StatusCode.UNAVAILABLE.value[0]
                    segued.remount("rw")
            assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
            await everything_announced_is_whole(client, heard.composition)
    finally:
        segued.stop()
