"""CreateMaster: an uploaded file is mastered like a composition, and exported in the requested formats."""

from __future__ import annotations

import asyncio
import io
import uuid
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
import soundfile
from tests.mesh.harness import Segued, embedded, hear

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import analysis_pb2, composition_pb2, spec_pb2, stream_pb2
from segue.mixer.v1 import mixer_pb2
from segue_audio.files import SOURCE_TYPE_TAG, SOURCE_TYPES, AudioFileSettings, FileFormat, open_writer, read_tags
from segue_audio.loudness import LoudnessMeter
from segue_client import Client, SegueError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mesh.harness import Heard

RATE = 44_100
BOTH = stream_pb2.AUDIO_SELECTION_BOTH
BROADCAST = mixer_pb2.MasterSettings(preset=mixer_pb2.MASTER_PRESET_BROADCAST)


def wav(path: Path, seconds: float = 4.0, channels: int = 2) -> Path:
    rng = np.random.default_rng(2)
    sound = rng.normal(0, 0.1, (round(seconds * RATE), channels)).cumsum(axis=0) * 0.05
    tags = {"TITLE": "Mine", "REPLAYGAIN_TRACK_GAIN": "-99 dB"}
    with open_writer(path, AudioFileSettings(channels=channels, sample_rate=RATE, tags=tags)) as writer:
        writer.write(np.tanh(sound).astype(np.float32))
    return path


async def test_a_flac_of_unknown_length_is_mastered(tmp_path: Path) -> None:
    """Encoders that write to a pipe leave the number of frames in the header at zero."""
    path = wav(tmp_path / "piped.flac", seconds=2)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    async with embedded(tmp_path) as (_, client):
        heard = await asyncio.wait_for(mastered(client, path), 60)
        assert heard.composition.state == composition_pb2.STATE_SUCCEEDED, heard.composition.error
        assert len(heard.draft) == 2 * RATE * 8


async def test_a_mastering_and_an_analysis_tell_when_a_later_one_will_be_complete(tmp_path: Path) -> None:
    path = wav(tmp_path / "mine.flac")
    states: list[analysis_pb2.Analysis] = []
    async with embedded(tmp_path) as (_, client), asyncio.timeout(100):
        upload = await client.upload(path)
        assert upload.media_type == "audio/flac"
        for is_known in (False, True):
            created = await client.create_master(upload.name)
            assert created.HasField("ready_in") == is_known
            assert not (await hear(client.watch(created.name))).composition.HasField("ready_in")
            states.clear()
            await client.analyze(upload.name, states.append)
            assert states[0].HasField("ready_in") == is_known
            assert not states[-1].HasField("ready_in")


async def read(client: Client, output: composition_pb2.Output) -> bytes:
    return b"".join([piece async for piece in client.read(output)])


async def mastered(client: Client, path: Path, **asked: object) -> Heard:
    upload = await client.upload(path)
    created = await client.create_master(upload.name, **asked)  # type: ignore[arg-type]  # as the call takes them
    assert not created.HasField("plan")
    return await hear(client.watch(created.name, audio=BOTH))


async def test_an_upload_is_mastered_into_every_requested_file(tmp_path: Path) -> None:
    exports = [
        spec_pb2.Export(file_format=audio_pb2.FILE_FORMAT_FLAC),
        spec_pb2.Export(file_format=audio_pb2.FILE_FORMAT_WAV, sample_rate=48_000, bit_depth=16),
    ]
    async with embedded(tmp_path) as (_, client):
        heard = await mastered(client, wav(tmp_path / "mine.flac"), settings=BROADCAST, exports=exports)
        piece = heard.composition
        assert piece.state == composition_pb2.STATE_SUCCEEDED
        assert piece.mastered.loudness.integrated_lufs == pytest.approx(-23.0, abs=0.1)
        flac, other = [await read(client, output) for output in piece.outputs]
        # It is in the lists, and can be filtered by its state.
        listed = [item.name async for item in client.compositions('state = "SUCCEEDED"')]
        assert listed == [piece.name]
    original = soundfile.read(tmp_path / "mine.flac", dtype="float32")[0]
    assert np.array_equal(np.frombuffer(heard.draft, np.float32).reshape(-1, 2), original)
    sound, rate = soundfile.read(io.BytesIO(flac), dtype="float32")
    assert (rate, sound.shape) == (RATE, original.shape)
    np.testing.assert_allclose(sound, np.frombuffer(heard.master, np.float32).reshape(-1, 2), atol=2**-23)
    meter = LoudnessMeter(RATE, 2)
    meter.push(sound)
    assert meter.result().integrated_lufs == pytest.approx(-23.0, abs=0.1)
    info = soundfile.info(io.BytesIO(other))
    assert (info.samplerate, info.subtype, info.frames) == (48_000, "PCM_16", 4 * 48_000)
    (tmp_path / "made.flac").write_bytes(flac)
    tags = read_tags(tmp_path / "made.flac").tags
    # The owner's tags stay; the loudness tags are updated.
    assert tags["TITLE"] == "Mine"
    assert tags["REPLAYGAIN_TRACK_GAIN"] == "5.00 dB"
    # Mastering generates nothing.
    assert SOURCE_TYPE_TAG not in tags


async def test_a_mastered_upload_keeps_its_source_type(tmp_path: Path) -> None:
    made = tmp_path / "made.wav"
    stated = {SOURCE_TYPE_TAG: f"{SOURCE_TYPES}trainedAlgorithmicMedia"}
    settings = AudioFileSettings(file_format=FileFormat.WAV, sample_rate=RATE, tags=stated)
    with open_writer(made, settings) as writer:
        writer.write(np.random.default_rng(3).normal(0, 0.1, (2 * RATE, 2)).astype(np.float32))
    exports = [spec_pb2.Export(file_format=audio_pb2.FILE_FORMAT_MP3)]
    async with embedded(tmp_path) as (_, client):
        piece = (await mastered(client, made, exports=exports)).composition
        (tmp_path / "master.mp3").write_bytes(await read(client, piece.outputs[0]))
    assert read_tags(tmp_path / "master.mp3").tags[SOURCE_TYPE_TAG] == stated[SOURCE_TYPE_TAG]


async def test_a_request_id_makes_one_mastering_and_refuses_another_request(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        upload = await client.upload(wav(tmp_path / "mine.flac", 1))
        again = str(uuid.uuid4())
        one, same = [await client.create_master(upload.name, request_id=again) for _ in range(2)]
        assert one.name == same.name
        with pytest.raises(SegueError) as caught:
            await client.create_master(upload.name, settings=BROADCAST, request_id=again)
        assert caught.value.code is grpc.StatusCode.ALREADY_EXISTS


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + bytes(2000), b"fLaC" + bytes(2000), bytes(5000)])
async def test_a_file_without_audio_fails_with_its_reason(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd").write_bytes(content or b"x")
    async with embedded(tmp_path / "home") as (_, client):
        piece = (await mastered(client, tmp_path / "odd")).composition
        assert piece.state == composition_pb2.STATE_FAILED
        assert piece.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert not piece.outputs


async def test_impossible_exports_are_refused_by_name(tmp_path: Path) -> None:
    mp3 = spec_pb2.Export(file_format=audio_pb2.FILE_FORMAT_MP3)
    wide = mixer_pb2.MasterSettings(width=1.5)
    async with embedded(tmp_path / "home") as (_, client):
        six = (await mastered(client, wav(tmp_path / "six.flac", 1, 6), exports=[mp3])).composition
        assert "6 channels; a MP3 file has 1 to 2" in six.error.message
        mono = (await mastered(client, wav(tmp_path / "mono.flac", 1, 1), settings=wide)).composition
        assert "needs stereo" in mono.error.message
        upload = await client.upload(wav(tmp_path / "two.flac", 1))
        with pytest.raises(SegueError, match="asked for twice"):
            await client.create_master(upload.name, exports=[mp3, mp3])
        with pytest.raises(SegueError) as caught:
            await client.create_master("uploads/0123456789abcdef")
        assert caught.value.code is grpc.StatusCode.NOT_FOUND


async def test_a_mastering_can_be_cancelled_and_deleted(tmp_path: Path) -> None:
    async with embedded(tmp_path / "home", {"conductor.count": "1"}) as (_, client):
        upload = await client.upload(wav(tmp_path / "mine.flac", 60))
        created = await client.create_master(upload.name)
        await client.cancel(created.name)
        piece = (await hear(client.watch(created.name))).composition
        assert piece.state == composition_pb2.STATE_CANCELLED
        await client.delete(created.name)
        with pytest.raises(SegueError):
            await client.get(created.name)


@pytest.mark.parametrize("moment", ["conductor.after_segment=kill*3", "conductor.after_measure=kill"])
async def test_a_mastering_continues_after_a_kill_with_the_same_bytes(tmp_path: Path, moment: str) -> None:
    path = wav(tmp_path / "mine.flac", 5)
    async with embedded(tmp_path / "calm") as (_, client):
        undisturbed = await mastered(client, path)
    segued = Segued(tmp_path / "home").start(failpoints=moment)
    try:
        async with Client(segued.address, patience_s=60) as client:
            working = asyncio.create_task(mastered(client, path))
            assert await segued.ended() == -9
            await asyncio.to_thread(segued.start)
            heard = await asyncio.wait_for(working, 60)
    finally:
        segued.stop()
    assert heard.num_rewinds == 0
    assert heard.draft == undisturbed.draft
    assert heard.digests() == undisturbed.digests()


async def test_a_mastering_has_no_plan_to_edit(tmp_path: Path) -> None:
    async with embedded(tmp_path / "home") as (_, client):
        piece = (await mastered(client, wav(tmp_path / "mine.flac", 1))).composition
        with pytest.raises(SegueError) as caught:
            await client.create(spec_pb2.CompositionSpec(parent=piece.name))
        assert [each.field for each in caught.value.violations] == ["spec.parent"]
