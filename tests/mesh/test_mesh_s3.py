"""Meshes on an S3 store: processes without a shared folder, a killed conductor, and what callers may download."""

from __future__ import annotations

import asyncio
import hashlib
import urllib.request
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.mesh.harness import Segued, embedded, hear, reach, spec
from tests.runtime.s3_server import SECRET, S3Server

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client import Client, SegueError
from segue_runtime.errors import StoreUnavailable
from segue_runtime.settings import SettingsError, load
from segued.commands.gc import clean

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.reference("versitygw"), pytest.mark.only_shape("embedded", "it chooses its storage itself")]
BOTH = stream_pb2.AUDIO_SELECTION_BOTH
ASKED = spec("calm piano, 120 bpm, C major, verse chorus", seconds=12)


def process(server: S3Server, bucket: str, home: Path, store: Path, role: str, address: str = "") -> Segued:
    """Return a process with a folder of its own; only the database is shared."""
    values = {**server.flags(bucket), "store.path": str(store)}
    flags = [part for key, value in values.items() for part in (f"--{key.replace('.', '-').replace('_', '-')}", value)]
    return Segued(home, *flags, role=role, address=address)


async def test_a_killed_conductor_is_replaced_by_one_on_another_machine(s3_server: S3Server, tmp_path: Path) -> None:
    async with embedded(tmp_path / "folder") as (_, client):
        expected = await hear(client.compose(ASKED, audio=BOTH))
    bucket, store = s3_server.new_bucket(), tmp_path / "segue.db"
    gateway, first, second = (
        process(s3_server, bucket, tmp_path / name, store, role)
        for name, role in (("gateway", "gateway"), ("first", "all"), ("second", "all"))
    )
    try:
        await asyncio.to_thread(gateway.start)
        await asyncio.to_thread(first.start, "conductor.after_segment=kill*9")
        async with Client(gateway.address, patience_s=60) as client:
            composing = asyncio.create_task(hear(client.compose(ASKED, audio=BOTH)))
            await first.ended()
            await asyncio.to_thread(second.start)
            heard = await asyncio.wait_for(composing, 90)
            assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
            assert (heard.draft, heard.master) == (expected.draft, expected.master)
            assert heard.digests() == expected.digests()
            for output in heard.composition.outputs:
                content = b"".join([piece async for piece in client.read(output)])
                assert hashlib.sha256(content).hexdigest() == output.sha256
    finally:
        for each in (gateway, first, second):
            each.stop()
    for name in ("gateway", "first", "second"):
        assert [path.name for path in (tmp_path / name / "artifacts").iterdir()] == [".partial"]
        logs = "".join(path.read_text() for path in (tmp_path / name).glob("*.log"))
        assert SECRET not in logs


def fetch(url: str) -> bytes:
    """Read a URL as any program can."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the server's own URL
        return bytes(answer.read())


async def test_a_folder_has_no_urls(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        heard = await hear(client.compose(spec(seconds=2)))
        with pytest.raises(SegueError, match="DownloadArtifact") as caught:
            await client.url(heard.composition.outputs[0])
        assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_IMPLEMENTED")


async def test_uploads_are_mastered_and_deletions_leave_nothing(s3_server: S3Server, tmp_path: Path) -> None:
    bucket = s3_server.new_bucket()
    async with embedded(tmp_path / "home", dict(s3_server.flags(bucket))) as (_, client):
        heard = await hear(client.compose(spec(seconds=4, stems=True), audio=BOTH))
        master = next(each for each in heard.composition.outputs if each.kind == composition_pb2.OUTPUT_KIND_MASTER)
        await client.download(master, tmp_path / "master.flac")
        url = await client.url(master, lifetime_s=60)
        assert await asyncio.to_thread(fetch, url) == (tmp_path / "master.flac").read_bytes()
        assert SECRET not in url
        for unknown in (
            composition_pb2.Output(name=master.name + "x"),
            composition_pb2.Output(name="uploads/0123abcd"),
        ):
            with pytest.raises(SegueError, match="it is not yours"):
                await client.url(unknown)
        upload = await client.upload(tmp_path / "master.flac")
        created = await client.create_master(upload.name)
        again = await hear(client.watch(created.name))
        assert again.composition.state == composition_pb2.STATE_SUCCEEDED
        for name in (heard.composition.name, again.composition.name):
            await client.delete(name)
        await client.delete_upload(upload.name)
    database = tmp_path / "home" / "segue.db"
    kept = database.rename(tmp_path / "kept.db")
    database.touch()
    with pytest.raises(StoreUnavailable, match="there are artifacts"):
        async with embedded(tmp_path / "home", dict(s3_server.flags(bucket))):
            pass
    kept.replace(database)
    # The takes that no piece needs are left for the sweep.
    await clean(load({"home": str(tmp_path / "home"), **s3_server.flags(bucket)}, environ={}, folder=tmp_path))
    assert _objects(s3_server, bucket) == []


@pytest.mark.slow
async def test_a_minute_of_music_needs_few_objects(s3_server: S3Server, tmp_path: Path) -> None:
    bucket = s3_server.new_bucket()
    async with embedded(tmp_path / "home", dict(s3_server.flags(bucket))) as (_, client):
        heard = await hear(client.compose(spec(seconds=60), audio=BOTH))
        assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
    names = [str(path.relative_to(s3_server.folder / bucket)) for path in _objects(s3_server, bucket)]
    assert len(names) <= 70, names


async def test_the_store_may_be_away_for_a_while(tmp_path: Path) -> None:
    """Its data stays; the piece waits and continues."""
    server = S3Server(tmp_path / "buckets")
    server.start()
    try:
        flags = {**server.flags(server.new_bucket()), "artifacts.s3.timeout": "2s"}
        async with embedded(tmp_path / "home", dict(flags)) as (_, client):
            created = await client.create(spec(seconds=8))
            await reach(client.watch(created.name), "section_started")
            server.stop()
            await asyncio.sleep(1)
            assert (await client.get(created.name)).state not in {
                composition_pb2.STATE_SUCCEEDED,
                composition_pb2.STATE_FAILED,
            }
            server.start()
            heard = await asyncio.wait_for(hear(client.watch(created.name, audio=BOTH)), 90)
            assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"artifacts.s3.bucket": ""}, "needs a bucket"),
        ({"artifacts.s3.endpoint": "http://user:secret@host"}, "without a user"),
        ({"artifacts.s3.secret_key": ""}, "both access_key and secret_key"),
        ({"artifacts.s3.prefix": "../other"}, "artifacts.s3.prefix"),
        ({"artifacts.backend": "folder"}, "no effect without artifacts.backend = s3"),
    ],
)
async def test_settings_that_cannot_work_are_refused(
    s3_server: S3Server, tmp_path: Path, changed: dict[str, str], problem: str
) -> None:
    with pytest.raises(SettingsError, match=problem):
        async with embedded(tmp_path / "home", {**s3_server.flags("bucket"), **changed}):
            pass


def _objects(server: S3Server, bucket: str) -> list[Path]:
    return [path for path in (server.folder / bucket).rglob("*") if path.is_file() and ".sgwtmp" not in path.parts]
