"""Damage on disk: whoever reads it is told DATA_LOSS and the artifact, and everything else stays readable."""

from __future__ import annotations

import asyncio
import wave
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from tests.mesh.harness import Heard, embedded, hear, spec, stub
from tests.mesh.shapes import shape

from segue.composer.v1 import composition_pb2, files_pb2, stream_pb2
from segue_client import Client, SegueError
from segue_client.errors import from_rpc_error, from_status
from segue_runtime import failpoints

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mesh.harness import Mesh


BOTH = stream_pb2.AUDIO_SELECTION_BOTH
DRAFT = stream_pb2.AUDIO_SELECTION_DRAFT
MASTER = stream_pb2.AUDIO_SELECTION_MASTER
AFTER_JOIN = "conductor.after_join"


def flip_bit(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (found,) = file.read(1)
        file.seek(offset)
        file.write(bytes([found ^ 1]))


def damage(folder: Path, offset: int) -> None:
    """Flip a bit in every file of a folder."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        flip_bit(path, min(offset, path.stat().st_size - 1))


async def download(node: Mesh, output: composition_pb2.Output, offset: int = 0, limit: int = 0) -> bytes:
    """Read a range of a file without the client, which would check the digest by itself."""
    request = files_pb2.DownloadArtifactRequest(name=output.name, read_offset=offset, read_limit=limit)
    async with stub(node.inner) as calls:
        return b"".join([response.data async for response in calls.DownloadArtifact(request)])


async def damaged(work: object) -> SegueError:
    """Expect DATA_LOSS."""
    with pytest.raises((SegueError, grpc.aio.AioRpcError)) as caught:
        await asyncio.wait_for(work, 60)  # type: ignore[arg-type]  # any awaitable
    error = from_rpc_error(caught.value) if isinstance(caught.value, grpc.aio.AioRpcError) else caught.value
    assert isinstance(error, SegueError)
    assert (error.code, error.reason) == (grpc.StatusCode.DATA_LOSS, "ARTIFACT_CORRUPT")
    return error


async def watch_is_damaged(client: Client, name: str, stage: stream_pb2.AudioSelection.ValueType) -> None:
    heard = Heard()
    error = await damaged(hear(client.watch(name, audio=stage), heard))
    word = "draft" if stage == DRAFT else "master"
    assert error.metadata["artifact"].startswith(f"{name}/{word}/")
    assert error.metadata["artifact"] in error.message
    assert "finished" not in heard.kinds


async def made(client: Client) -> tuple[Heard, composition_pb2.Output]:
    """Make a piece; return it with its file."""
    heard = await asyncio.wait_for(hear(client.compose(spec(seconds=8), audio=BOTH)), 90)
    (output,) = [each for each in heard.composition.outputs if each.name.endswith(".flac")]
    assert output.size_bytes > 200_000
    return heard, output


def damage_everything(home: Path, name: str) -> None:
    folder = shape().artifact_folder(home) / name
    flip_bit(folder / "outputs" / "master.flac", 150_000)
    damage(folder / "draft", 90_000)
    damage(folder / "master", 90_000)


@pytest.mark.only_shape("embedded", "with S3, a process keeps in memory what it has verified")
async def test_a_bit_that_flips_after_a_file_was_read_is_data_loss(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (node, client):
        heard, output = await made(client)
        name = heard.composition.name
        whole = await download(node, output)
        assert len(whole) == output.size_bytes
        damage_everything(tmp_path, name)
        await watch_is_damaged(client, name, DRAFT)
        await watch_is_damaged(client, name, MASTER)
        for offset, limit in ((0, 0), (149_000, 2_000)):
            error = await damaged(download(node, output, offset, limit))
            assert error.metadata["artifact"] == output.name
        # This process has verified the file: a range without damage is still served.
        assert await download(node, output, 200_000) == whole[200_000:]
        assert (await hear(client.watch(name, audio=stream_pb2.AUDIO_SELECTION_NONE))).composition == heard.composition


async def test_a_flipped_bit_is_data_loss_in_watches_and_downloads(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        heard, output = await made(client)
    name = heard.composition.name
    damage_everything(tmp_path, name)
    # A process that has not seen the files yet compares them with their digests.
    async with embedded(tmp_path) as (node, client):
        await watch_is_damaged(client, name, DRAFT)
        await watch_is_damaged(client, name, MASTER)
        for offset, limit in ((0, 0), (149_000, 2_000), (200_000, 0)):
            assert (await damaged(download(node, output, offset, limit))).metadata["artifact"] == output.name
        (manifest,) = [each for each in heard.composition.outputs if each.name.endswith("manifest.json")]
        assert len(await download(node, manifest)) == manifest.size_bytes
        assert (await hear(client.watch(name, audio=stream_pb2.AUDIO_SELECTION_NONE))).composition == heard.composition


@pytest.mark.only_shape("embedded", "with S3, the conductor keeps what it has written")
async def test_a_damaged_draft_is_never_mastered(tmp_path: Path) -> None:
    async with embedded(tmp_path, {"failpoints.active": f"{AFTER_JOIN}=pause"}) as (_, client):
        name = (await client.create(spec(seconds=2))).name
        while not failpoints.paused(AFTER_JOIN):  # noqa: ASYNC110 - another task comes to that place
            await asyncio.sleep(0.01)
        damage(shape().artifact_folder(tmp_path) / name / "draft", 9_000)
        failpoints.arm("")
        heard = Heard()
        await asyncio.wait_for(hear(client.watch(name, audio=MASTER), heard), 60)
        assert heard.composition.state == composition_pb2.STATE_FAILED
        error = from_status(heard.composition.error)
        assert (error.code, error.reason) == (grpc.StatusCode.DATA_LOSS, "ARTIFACT_CORRUPT")
        assert error.metadata["artifact"].startswith(f"{name}/draft/")
        assert not heard.sound


async def lost_artifact(client: Client, name: str) -> str:
    """Watch a piece that fails with DATA_LOSS; return the artifact that it names."""
    heard = await asyncio.wait_for(hear(client.watch(name)), 60)
    error = from_status(heard.composition.error)
    assert (error.code, error.reason) == (grpc.StatusCode.DATA_LOSS, "ARTIFACT_CORRUPT")
    return error.metadata["artifact"]


async def test_damaged_uploads_and_takes_are_data_loss_for_the_work_that_uses_them(tmp_path: Path) -> None:
    tone, music = tmp_path / "tone.wav", spec(seconds=2)
    with wave.open(str(tone), "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", ""))
        file.writeframes((np.sin(np.arange(96_000) / 20) * 9_000).astype("<i2").tobytes())
    async with embedded(tmp_path / "home") as (_, client):
        first = await asyncio.wait_for(hear(client.compose(music)), 60)
        assert first.composition.state == composition_pb2.STATE_SUCCEEDED
        upload = (await client.upload(tone)).name
    artifacts = shape().artifact_folder(tmp_path / "home")
    flip_bit(artifacts / upload / "content", 90_000)
    for take in artifacts.glob("takes/*/*/mix"):
        flip_bit(take, take.stat().st_size // 2)
    async with embedded(tmp_path / "home") as (_, client):
        assert (await damaged(client.analyze(upload))).metadata["artifact"] == f"{upload}/content"
        assert await lost_artifact(client, (await client.create_master(upload)).name) == f"{upload}/content"
        artifact = await lost_artifact(client, (await client.create(music)).name)
        assert artifact.startswith("takes/")
