"""One composition through the whole mesh, and the calls on it."""

from __future__ import annotations

import asyncio
import io
import uuid
from typing import TYPE_CHECKING

import grpc
import mido
import numpy as np
import pytest
import soundfile
from tests.mesh.harness import embedded, free_port, hear, metrics, sha256, spec

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client import Access, Client, SegueError
from segue_runtime import failpoints

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mesh.harness import Mesh

    from segue_client import Update

BOTH = stream_pb2.AUDIO_SELECTION_BOTH


async def read(client: Client, output: composition_pb2.Output) -> bytes:
    return b"".join([piece async for piece in client.read(output)])


async def test_a_piece_is_planned_rendered_mixed_mastered_measured_and_written(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        asked = spec("calm piano, 110 bpm, C major, verse chorus", stems=True, midi=True)
        heard = await hear(client.compose(asked, audio=BOTH))
        piece = heard.composition
        assert piece.state == composition_pb2.STATE_SUCCEEDED
        assert piece.plan.frames == 480_000
        assert len(piece.plan.sections) >= 2
        kinds = [kind for kind in heard.kinds if kind not in {"section_progress", "checkpoint"}]
        order = [kinds.index(kind) for kind in ("accepted", "started", "planned", "section_started", "section_mixed")]
        assert order == sorted(order)
        assert kinds.index("draft_finished") < kinds.index("master_made") < kinds.index("analyzed")
        assert kinds.count("finished") == 1
        # Audio arrives before the piece is finished, and before the first section is rendered completely.
        assert kinds.index("audio") < kinds.index("section_finished")
        sequences = [update.event.sequence for update in heard.updates]
        assert sequences == sorted(sequences)
        assert len(heard.draft) == len(heard.master) == piece.plan.frames * 8
        files = {output.name.rpartition("/")[2]: output for output in piece.outputs}
        master, rate = soundfile.read(io.BytesIO(await read(client, files["master.flac"])), dtype="float32")
        assert rate == 48_000
        streamed = np.frombuffer(heard.master, np.float32).reshape(-1, 2)
        np.testing.assert_allclose(master, streamed, atol=2**-23)
        stems = [output for output in piece.outputs if output.kind == composition_pb2.OUTPUT_KIND_STEM]
        assert len(stems) >= 2
        parts = [soundfile.read(io.BytesIO(await read(client, stem)), dtype="float64")[0] for stem in stems]
        draft = np.frombuffer(heard.draft, np.float32).reshape(-1, 2)
        np.testing.assert_allclose(np.sum(parts, axis=0), draft, atol=1e-5)
        music = mido.MidiFile(file=io.BytesIO(await read(client, files["music.mid"])))
        bar_s = 4 * 60 / 110
        assert 10.0 - bar_s < music.length <= 10.0  # whole bars; the ring-out has no notes
        assert any(message.type == "note_on" for track in music.tracks for message in track)
        assert abs(piece.mastered.loudness.integrated_lufs + 14.0) < 0.15
        assert abs(piece.report.loudness.integrated_lufs - piece.mastered.loudness.integrated_lufs) < 0.15
        assert piece.report.frames == piece.plan.frames


async def test_the_same_request_gives_the_same_bytes_and_uses_its_takes_again(tmp_path: Path) -> None:
    async with embedded(tmp_path / "one") as (_, client):
        first = await hear(client.compose(spec(), audio=BOTH))
        again = await hear(client.compose(spec(), audio=BOTH))
        other = await hear(client.compose(spec(seed=4), audio=BOTH))
    async with embedded(tmp_path / "two") as (_, client):
        elsewhere = await hear(client.compose(spec(), audio=BOTH))
    assert first.digests() == again.digests() == elsewhere.digests()
    assert sha256(first.draft) == sha256(again.draft) == sha256(elsewhere.draft)
    assert other.digests() != first.digests()
    assert not any(section.reused for section in first.composition.sections)
    assert all(section.reused for section in again.composition.sections)


@pytest.mark.parametrize(
    ("encoding", "width"), [(audio_pb2.SAMPLE_FORMAT_S16LE, 2), (audio_pb2.SAMPLE_FORMAT_S24LE, 3)]
)
async def test_a_watch_gives_the_requested_encoding_whatever_the_message_sizes(
    tmp_path: Path, encoding: audio_pb2.SampleFormat.ValueType, width: int
) -> None:
    async with embedded(tmp_path) as (_, client):
        heard = await hear(client.compose(spec(seconds=4), audio=BOTH))
        name = heard.composition.name
        whole = await hear(client.watch(name, audio=BOTH, encoding=encoding))
        assert len(whole.draft) == len(heard.draft) // 4 * width
        if width == 2:
            quantised = np.frombuffer(whole.draft, "<i2") / 32768
            np.testing.assert_allclose(quantised, np.frombuffer(heard.draft, np.float32), atol=2.1 / 32768)
        # A watch from the middle of the audio gives the same bytes as one without a break.
        cut = whole.updates[len(whole.updates) // 3]
        rest = await hear(client.watch(name, cursor=cut.cursor, audio=BOTH, encoding=encoding))
        before = draft_before(whole.updates, cut.cursor)
        assert before + rest.draft == whole.draft


def draft_before(updates: list[Update], cursor: str) -> bytes:
    found = bytearray()
    for update in updates:
        if update.kind == "audio" and update.event.audio.stage == audio_pb2.STAGE_DRAFT:
            found += update.event.audio.data
        if update.cursor == cursor:
            break
    return bytes(found)


async def test_every_cursor_continues_exactly_after_its_message(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        heard = await hear(client.compose(spec(seconds=3), audio=BOTH))
        name = heard.composition.name
        whole = await hear(client.watch(name, audio=BOTH))
        logged = [update for update in whole.updates if update.kind not in {"section_progress", "checkpoint"}]
        for index in range(0, len(logged) - 1, 5):
            rest = await hear(client.watch(name, cursor=logged[index].cursor, audio=BOTH))
            assert [each.event for each in rest.updates] == [each.event for each in logged[index + 1 :]]


async def test_many_watchers_of_one_piece_hear_the_same(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        created = await client.create(spec())
        heard = await asyncio.gather(*(hear(client.watch(created.name, audio=BOTH)) for _ in range(12)))
        assert len({sha256(each.draft + each.master) for each in heard}) == 1
        assert all(each.composition.state == composition_pb2.STATE_SUCCEEDED for each in heard)


async def test_many_calls_with_one_request_id_make_one_composition(tmp_path: Path) -> None:
    async with embedded(tmp_path, {"conductor.count": "1"}) as (_, client):
        request_id = str(uuid.uuid4())
        made = await asyncio.gather(*(client.create(spec(seconds=2), request_id=request_id) for _ in range(20)))
        assert len({each.name for each in made}) == 1
        assert [each.name async for each in client.compositions()] == [made[0].name]
        with pytest.raises(SegueError) as caught:
            await client.create(spec(seconds=2, seed=9), request_id=request_id)
        assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


@pytest.mark.parametrize("place", ["conductor.after_plan", "conductor.after_segment", "conductor.after_measure"])
async def test_a_cancel_ends_a_piece_in_every_stage_and_keeps_the_draft(tmp_path: Path, place: str) -> None:
    async with embedded(tmp_path, {"failpoints.active": f"{place}=pause"}) as (node, client):
        created = await client.create(spec())
        while not failpoints.paused(place):  # noqa: ASYNC110 - it is another task that comes to that place
            await asyncio.sleep(0.01)
        await client.cancel(created.name)
        heard = await asyncio.wait_for(hear(client.watch(created.name, audio=BOTH)), 20)
        piece = heard.composition
        assert piece.state == composition_pb2.STATE_CANCELLED
        assert heard.kinds.count("finished") == 1
        drafts = [output for output in piece.outputs if output.kind == composition_pb2.OUTPUT_KIND_DRAFT]
        assert len(drafts) == (0 if place == "conductor.after_plan" else 1)
        if drafts:
            sound, _ = soundfile.read(io.BytesIO(await read(client, drafts[0])))
            assert len(sound) == len(heard.draft) // 8 > 0
        await idle(node)
        failpoints.arm("")
        again = await hear(client.compose(spec(seconds=2)))
        assert again.composition.state == composition_pb2.STATE_SUCCEEDED


async def idle(node: Mesh) -> None:
    """Wait until the renderer is idle: a cancellation frees its slot."""
    async with Client(Access(node.inner)) as client, asyncio.timeout(30):
        while (await client.stats()).renderers[0].busy_slots:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.02)


async def test_a_disconnected_caller_cancels_the_piece_only_with_policy_cancel(tmp_path: Path) -> None:
    flags: dict[str, object] = {
        "gateway.attach_grace": "0.3s", "conductor.heartbeat": "0.1s", "conductor.count": "2",
        "failpoints.active": "conductor.after_plan=pause",
    }  # fmt: skip
    async with embedded(tmp_path, flags) as (_, client):
        names = []
        for gone in (True, False):
            stream = client.compose(spec(), cancel_when_gone=gone)
            async for update in stream:
                names.append(update.event.composition)
                break
            await stream.aclose()
        cancelled = await asyncio.wait_for(hear(client.watch(names[0])), 20)
        assert cancelled.composition.state == composition_pb2.STATE_CANCELLED
        assert cancelled.composition.error.details
        failpoints.arm("")
        survived = await asyncio.wait_for(hear(client.watch(names[1])), 60)
        assert survived.composition.state == composition_pb2.STATE_SUCCEEDED


async def test_a_time_limit_fails_the_piece_and_a_deadline_only_ends_the_stream(tmp_path: Path) -> None:
    async with embedded(tmp_path, {"failpoints.active": "conductor.after_plan=pause"}) as (_, client):
        limited = spec()
        limited.time_limit.FromSeconds(1)
        with pytest.raises(SegueError) as caught:
            await hear(client.compose(limited))
        assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "TIME_LIMIT")


async def test_a_full_queue_gives_a_retry_time(tmp_path: Path) -> None:
    flags: dict[str, object] = {
        "queue.limit": "4", "conductor.count": "1", "failpoints.active": "conductor.after_plan=pause",
    }  # fmt: skip
    async with embedded(tmp_path, flags) as (_, client):
        await client.create(spec(seconds=2, seed=99))
        while not failpoints.paused("conductor.after_plan"):  # noqa: ASYNC110 - another task comes to that place
            await asyncio.sleep(0.01)
        answers = await asyncio.gather(
            *(client.create(spec(seconds=2, seed=seed)) for seed in range(20)), return_exceptions=True
        )
        refused = [each for each in answers if isinstance(each, SegueError)]
        accepted = [each for each in answers if isinstance(each, composition_pb2.Composition)]
        assert len(accepted) == 4
        assert {each.reason for each in refused} == {"QUEUE_FULL"}
        assert all(each.retry_after_s for each in refused)
        positions = {(await client.get(each.name)).queue_position for each in accepted}
        assert positions == {1, 2, 3, 4}
        failpoints.arm("")
        for each in accepted:
            heard = await asyncio.wait_for(hear(client.watch(each.name)), 60)
            assert heard.composition.state == composition_pb2.STATE_SUCCEEDED


async def test_a_finished_piece_can_be_listed_and_deleted_with_its_files(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        labelled = spec(seconds=2)
        labelled.labels["album"] = "one"
        kept = await hear(client.compose(labelled))
        other = await hear(client.compose(spec(seconds=2, seed=8)))
        found = [each.name async for each in client.compositions('labels.album = "one"')]
        assert found == [kept.composition.name]
        await client.delete(other.composition.name)
        with pytest.raises(SegueError, match="there is no"):
            await client.get(other.composition.name)
        with pytest.raises(SegueError) as caught:
            await read(client, other.composition.outputs[0])
        assert caught.value.code is grpc.StatusCode.NOT_FOUND


async def test_an_upload_is_joined_and_measured(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        heard = await hear(client.compose(spec(seconds=8)))
        path = tmp_path / "piece.flac"
        await client.download(heard.composition.outputs[0], path)
        upload = await client.upload(path)
        assert upload.size_bytes == path.stat().st_size
        report = await client.analyze(upload.name)
        assert report.frames == heard.composition.plan.frames
        of_output = await client.analyze(heard.composition.outputs[0].name)
        assert of_output.loudness.integrated_lufs == pytest.approx(report.loudness.integrated_lufs, abs=0.01)
        broken = tmp_path / "broken.flac"
        broken.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(SegueError) as caught:
            await client.analyze((await client.upload(broken)).name)
        assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_metrics_count_a_finished_stream_as_a_success(tmp_path: Path) -> None:
    where = f"127.0.0.1:{free_port()}"
    async with embedded(tmp_path, {"metrics.listen": where}) as (_, client):
        await hear(client.compose(spec(seconds=3)))
        found = await metrics(where)
    handled = {
        name: value for name, value in found.items() if "segue_rpc_handled_total" in name and 'method="Compose"' in name
    }
    assert list(handled.values()) == [1]
    assert 'code="OK"' in next(iter(handled))
