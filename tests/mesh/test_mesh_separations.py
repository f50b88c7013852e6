"""CreateSeparation: stems of an upload or an output, as files that add up to it."""

from __future__ import annotations

import asyncio
import io
import socket
import uuid
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
import soundfile
from tests.analyzer.separator_files import write_checkpoint
from tests.mesh.harness import Segued, embedded, hear, spec, stub
from tests.mesh.shapes import shape

from segue.analyzer.v1 import analyzer_pb2
from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, separation_pb2
from segue_client import Access, Client, SegueError

if TYPE_CHECKING:
    from pathlib import Path

    from segue.composer.v1.composer_pb2_grpc import ComposerServiceAsyncStub
    from segue.composer.v1.separation_pb2 import Separation
    from segue_audio.arrays import Float32

LIMIT_S = 120
RATE = 44_100
HARMONIC_PERCUSSIVE = analyzer_pb2.SEPARATOR_KIND_HARMONIC_PERCUSSIVE
FOUR_STEMS = analyzer_pb2.SEPARATOR_KIND_FOUR_STEMS


def write(path: Path, seconds: float = 2.0, channels: int = 2, rate: int = RATE) -> Path:
    """Write 24 bits of noise and tones up to full scale."""
    rng = np.random.default_rng(4)
    times = np.arange(round(seconds * rate))[:, None] / rate
    sound = 0.6 * np.sin(2 * np.pi * 330 * times) + 0.4 * rng.uniform(-1, 1, (len(times), channels))
    soundfile.write(path, np.clip(sound, -1, 1), rate, subtype="PCM_24")
    return path


async def samples(client: Client, output: composition_pb2.Output) -> Float32:
    content = b"".join([piece async for piece in client.read(output)])
    sound, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    assert rate == output.sample_rate
    assert sound.shape == (output.frames, output.channels)
    found: Float32 = sound
    return found


async def assert_adds_up(client: Client, separation: Separation, path: Path) -> None:
    source, rate = soundfile.read(path, dtype="float32", always_2d=True)
    stems = [await samples(client, output) for output in separation.outputs]
    assert {output.sample_rate for output in separation.outputs} == {rate}
    assert all(stem.shape == source.shape for stem in stems)
    assert (np.sum(stems, axis=0, dtype=np.float64) == source).all()
    assert all(np.abs(stem).max() > 0 for stem in stems)


@pytest.mark.parametrize("file_format", [audio_pb2.FILE_FORMAT_UNSPECIFIED, audio_pb2.FILE_FORMAT_WAV])
async def test_the_stems_of_an_upload_are_files_that_add_up_to_it(
    tmp_path: Path, file_format: audio_pb2.FileFormat.ValueType
) -> None:
    path = write(tmp_path / "mine.flac")
    states: list[Separation] = []
    async with embedded(tmp_path) as (_, client), asyncio.timeout(LIMIT_S):
        upload = await client.upload(path)
        separation = await client.separate(upload.name, file_format=file_format, on_change=states.append)
        assert states[0].state == composition_pb2.STATE_QUEUED
        assert separation.fraction_done == 1
        assert separation.separator.kind == HARMONIC_PERCUSSIVE
        assert [output.layer for output in separation.outputs] == ["harmonic", "percussive"]
        assert {output.bit_depth for output in separation.outputs} == {32 if file_format else 24}
        assert {output.kind for output in separation.outputs} == {composition_pb2.OUTPUT_KIND_STEM}
        await assert_adds_up(client, separation, path)
        # A stem is a file as any other.
        assert (await client.analyze(separation.outputs[0].name)).frames == separation.outputs[0].frames
        again = await client.separate(separation.outputs[1].name)
        assert again.outputs[0].frames == separation.outputs[1].frames
        await client.delete_upload(upload.name)
        await assert_adds_up(client, separation, path)


async def test_weights_give_four_stems_and_are_named(tmp_path: Path) -> None:
    digest = write_checkpoint(tmp_path / "tiny.onnx")
    flags: dict[str, object] = {
        "analyzer.separator.path": str(tmp_path / "tiny.onnx"), "analyzer.separator.sha256": digest,
        "analyzer.separator.threads": "1",
    }  # fmt: skip
    path = write(tmp_path / "mine.wav", channels=1, rate=48_000)
    async with embedded(tmp_path, flags) as (_, client), asyncio.timeout(LIMIT_S):
        source = (await client.upload(path)).name
        separation = await client.separate(source)
        assert [output.layer for output in separation.outputs] == ["drums", "bass", "other", "vocals"]
        separator = separation.separator
        assert (separator.kind, separator.name, separator.digest) == (FOUR_STEMS, "tiny", digest)
        await assert_adds_up(client, separation, path)
        two = await client.separate(source, kind=HARMONIC_PERCUSSIVE)
        assert [output.layer for output in two.outputs] == ["harmonic", "percussive"]


async def test_the_master_of_a_piece_is_separated(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client), asyncio.timeout(LIMIT_S):
        piece = (await hear(client.compose(spec(seconds=4)))).composition
        master = next(each for each in piece.outputs if each.kind == composition_pb2.OUTPUT_KIND_MASTER)
        separation = await client.separate(master.name)
        (tmp_path / "master.flac").write_bytes(b"".join([piece async for piece in client.read(master)]))
        await assert_adds_up(client, separation, tmp_path / "master.flac")


async def test_a_take_is_separated_with_its_tail(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client), asyncio.timeout(LIMIT_S):
        piece = (await hear(client.compose(spec(seconds=4)))).composition
        name = f"{piece.name}/takes/{piece.sections[0].section_id}"
        measured, separation = await client.analyze(name), await client.separate(name)
        assert {output.frames for output in separation.outputs} == {measured.frames}
        with pytest.raises(SegueError) as caught:
            await client.separate(f"{piece.name}/takes/nothing")
        assert caught.value.reason == "ARTIFACT_NOT_FOUND"


async def test_what_cannot_be_separated_says_why(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client), asyncio.timeout(LIMIT_S):
        source = (await client.upload(write(tmp_path / "mine.flac", 0.5))).name
        with pytest.raises(SegueError, match=r"analyzer\.separator\.path") as caught:
            await client.separate(source, kind=FOUR_STEMS)
        assert caught.value.reason == "OPTION_NOT_SUPPORTED"
        with pytest.raises(SegueError, match="lossy") as caught:
            await client.separate(source, file_format=audio_pb2.FILE_FORMAT_MP3)
        assert caught.value.reason == "INVALID_FIELD"
        with pytest.raises(SegueError) as caught:
            await client.separate("uploads/0123456789")
        assert caught.value.reason == "ARTIFACT_NOT_FOUND"
        (tmp_path / "noise.flac").write_bytes(b"fLaC" + bytes(range(256)) * 20)
        with pytest.raises(SegueError) as caught:
            await client.separate((await client.upload(tmp_path / "noise.flac")).name)
        assert caught.value.reason == "INVALID_AUDIO"
        failed = [each async for each in client.separations('state = "FAILED"')]
        assert len(failed) == 2
        assert all(not each.outputs and each.HasField("error") and each.HasField("end_time") for each in failed)


async def create(calls: ComposerServiceAsyncStub, source: str, **more: object) -> Separation:
    request = separation_pb2.CreateSeparationRequest(source=source, **more)  # type: ignore[arg-type]  # its fields
    return (await calls.CreateSeparation(request)).separation


async def test_separations_are_listed_repeated_cancelled_and_deleted(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # an analyzer that never answers
        flags: dict[str, object] = {"analyzer.address": f"127.0.0.1:{deaf.getsockname()[1]}"}
        async with embedded(tmp_path, flags) as (node, client), stub(node.inner) as calls, asyncio.timeout(LIMIT_S):
            source = (await client.upload(write(tmp_path / "mine.flac", 0.5))).name
            request_id = str(uuid.uuid4())
            first = await create(calls, source, request_id=request_id)
            assert (await create(calls, source, request_id=request_id.upper())).name == first.name
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await create(calls, source, request_id=request_id, kind=HARMONIC_PERCUSSIVE)
            assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
            second = await create(calls, source)
            names = [second.name, first.name]
            assert [each.name async for each in client.separations()] == names
            page = await calls.ListSeparations(separation_pb2.ListSeparationsRequest(page_size=1))
            assert [each.name for each in page.separations] == names[:1]
            request = separation_pb2.ListSeparationsRequest(page_size=1, page_token=page.next_page_token)
            assert [each.name for each in (await calls.ListSeparations(request)).separations] == names[1:]
            with pytest.raises(SegueError) as refused:
                await client.delete_separation(first.name)
            assert refused.value.reason == "NOT_FINISHED"
            for name in names:
                await client.cancel_separation(name)
                watched = calls.WatchSeparation(separation_pb2.WatchSeparationRequest(name=name))
                ended = [answer.separation async for answer in watched][-1]
                assert ended.state == composition_pb2.STATE_CANCELLED
            await client.delete_separation(first.name)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await calls.GetSeparation(separation_pb2.GetSeparationRequest(name=first.name))
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            assert [each.name async for each in client.separations('state = "CANCELLED"')] == names[:1]


async def test_a_deleted_separation_leaves_no_files_and_an_expired_one_neither(tmp_path: Path) -> None:
    async with embedded(tmp_path, {"store.retention": "2s"}) as (_, client), asyncio.timeout(LIMIT_S):
        source = (await client.upload(write(tmp_path / "mine.flac", 0.5))).name
        deleted, kept = await client.separate(source), await client.separate(source)
        folders = [shape().artifact_folder(tmp_path), tmp_path]

        def files(separation: Separation) -> list[Path]:
            part = separation.name.rpartition("/")[2]
            return [each for folder in folders for each in folder.rglob("stem-*") if part in str(each)]

        await client.delete_separation(deleted.name)
        assert not files(deleted)
        while [each async for each in client.separations()]:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.2)
        assert not files(kept)


async def test_a_conductor_killed_before_the_end_separates_again(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.flac")
    segued = Segued(tmp_path / "home")
    try:
        await asyncio.to_thread(segued.start, "separation.before_finish=kill")
        async with Client(Access(segued.address), patience_s=60) as client, asyncio.timeout(LIMIT_S):
            source = (await client.upload(path)).name
            working = asyncio.create_task(client.separate(source))
            await segued.ended()
            await asyncio.to_thread(segued.start)
            separation = await working
            await assert_adds_up(client, separation, path)
            assert [each.name async for each in client.separations()] == [separation.name]
    finally:
        segued.stop()
