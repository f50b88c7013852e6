"""Roles and stores that are unavailable for a moment, or for good: work that does not need them continues."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import socket
import sqlite3
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import soundfile
from tests.mesh.faulty_renderer import faulty_renderer
from tests.mesh.harness import Heard, Segued, embedded, hear, spec, stub
from tests.mesh.shapes import opened_store, shape

from segue.composer.v1 import analysis_pb2, composition_pb2, files_pb2, stream_pb2
from segue_client import Client, SegueError
from segue_conductor import analyzer_call, conductor
from segue_conductor.runs import analysis
from segue_gateway.watch import streams
from segue_runtime import errors
from segue_runtime.rpc.chunks import crc32c
from segue_runtime.store import SqliteStore, schema
from segue_runtime.store.pool.sqlite_pool import SqlitePool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.mesh.faulty_renderer import Responses

    from segue.renderer.v1 import renderer_pb2
    from segue_runtime.store import Store, Upload

BOTH = stream_pb2.AUDIO_SELECTION_BOTH
ASKED = spec("calm piano, 120 bpm, C major, verse chorus", seconds=12)


class Failing:
    """Makes a method of a store fail a few times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, times: int, of: type | None = None) -> None:
        self.failed, self.healed, self._left = asyncio.Event(), asyncio.Event(), times
        of = of or shape().store_class
        real = getattr(of, name)

        async def fails(store: Any, *args: Any) -> Any:
            if self._left:
                self._left -= 1
                self.failed.set()
                raise errors.StoreUnavailable("the store went away", retry_after_s=1)
            self.healed.set()
            return await real(store, *args)

        monkeypatch.setattr(of, name, fails)


async def test_a_piece_succeeds_although_its_progress_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = Failing(monkeypatch, "set_progress", 1)

    async def waits(_call: int, _start: renderer_pb2.RenderStart, responses: Responses) -> Responses:
        async for response in responses:
            yield response
            if response.WhichOneof("message") == "audio":
                await progress.failed.wait()

    async with (
        faulty_renderer(tmp_path, waits) as renderer,
        embedded(tmp_path, {"renderer.addresses": renderer.address}) as (_, client),
    ):
        heard = await asyncio.wait_for(hear(client.compose(spec(seconds=4))), 60)
        assert heard.composition.state == composition_pb2.STATE_SUCCEEDED


@pytest.mark.only_shape("embedded", "another process locks the database file")
@pytest.mark.parametrize("moment", ["planned", "draft_finished"])
async def test_a_piece_waits_for_a_store_that_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Another process keeps the store's lock, until writes and renewals of the lease have failed."""
    monkeypatch.setattr(schema, "BUSY_S", 0.2)
    failed = {name: asyncio.Event() for name in ("work", "renewal")}
    monkeypatch.setattr(SqliteStore, "renew", _noting(SqliteStore.renew, failed["renewal"]))
    # The next write of a piece may be one of these.
    writes: tuple[tuple[type, str], ...] = (
        (SqliteStore, "append"), (SqlitePool, "enter_line"), (SqlitePool, "leave_line")
    )  # fmt: skip
    for owner, name in writes:
        monkeypatch.setattr(owner, name, _noting(getattr(owner, name), failed["work"]))
    home = tmp_path / "home"
    async with embedded(home, {"conductor.heartbeat": "0.1s"}) as (_, client), asyncio.timeout(90):
        heard = Heard()
        async for update in client.compose(ASKED):
            heard.take(update)
            if update.kind == moment and heard.kinds.count(moment) == 1:
                with contextlib.closing(sqlite3.connect(home / "segue.db", isolation_level=None, timeout=30)) as other:
                    other.execute("BEGIN IMMEDIATE")
                    for event in failed.values():
                        await event.wait()
                    other.execute("ROLLBACK")
    assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
    assert heard.kinds.count("started") == 1
    assert "section_retried" not in heard.kinds
    with contextlib.closing(sqlite3.connect(home / "segue.db")) as other:
        assert other.execute("SELECT count(*) FROM sections").fetchone() == (0,)


def _noting(real: Any, failed: asyncio.Event) -> Any:
    async def tried(*args: Any, **options: Any) -> Any:
        try:
            return await real(*args, **options)
        except errors.StoreUnavailable:
            failed.set()
            raise

    return tried


async def test_a_connected_caller_is_not_taken_for_disconnected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing the attachment fails twice; the third try succeeds, and the stream is not affected."""
    monkeypatch.setattr(streams, "ATTACH_EVERY_S", 0.05)
    attachment = Failing(monkeypatch, "attach", 2)

    async def waits(_call: int, _start: renderer_pb2.RenderStart, responses: Responses) -> Responses:
        async for response in responses:
            yield response
            await attachment.healed.wait()

    async with faulty_renderer(tmp_path, waits) as renderer:
        flags: dict[str, object] = {"renderer.addresses": renderer.address, "conductor.heartbeat": "0.1s"}
        async with embedded(tmp_path, flags) as (_, client):
            heard = await asyncio.wait_for(hear(client.compose(spec(seconds=4), cancel_when_gone=True)), 60)
            assert heard.composition.state == composition_pb2.STATE_SUCCEEDED


async def test_the_draft_is_kept_when_no_renderer_is_left(tmp_path: Path) -> None:
    async def stops(call: int, _start: renderer_pb2.RenderStart, responses: Responses) -> Responses:
        async for response in responses:
            if call == 2:
                await asyncio.Event().wait()
            yield response

    async with contextlib.AsyncExitStack() as stack:
        renderer = await stack.enter_async_context(faulty_renderer(tmp_path, stops))
        async with embedded(tmp_path, {"renderer.addresses": renderer.address}) as (_, client):
            heard, name = Heard(), (await client.create(ASKED)).name
            async for update in client.watch(name, audio=BOTH):
                heard.take(update)
                if update.kind == "audio" and len(heard.draft) > 48_000 * 8 and renderer.address:
                    await stack.aclose()
                    renderer.address = ""
                    await client.cancel(name)
            assert heard.composition.state == composition_pb2.STATE_CANCELLED
            (draft,) = heard.composition.outputs
            content = b"".join([piece async for piece in client.read(draft)])
    assert draft.kind == composition_pb2.OUTPUT_KIND_DRAFT
    sound, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    np.testing.assert_allclose(sound, np.frombuffer(heard.draft, np.float32).reshape(-1, 2), atol=2**-23)


def noise(path: Path, seconds: float) -> Path:
    sound = np.random.default_rng(1).normal(0, 0.1, (round(seconds * 48_000), 2))
    soundfile.write(path, sound.astype(np.float32), 48_000, subtype="FLOAT")
    return path


async def test_an_analysis_reports_its_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "PROGRESS_EVERY_S", 0.0)
    seen = asyncio.Event()
    analyze: Any = analyzer_call.analyze_file

    async def waits(*asked: Any) -> Any:
        """Measure, and do not report the end before the watcher has received some progress."""

        async def report(fraction: float) -> None:
            await asked[-1](fraction)
            if fraction < 1:
                await seen.wait()

        return await analyze(*asked[:-1], report)

    monkeypatch.setattr(analysis, "analyze_file", waits)
    async with embedded(tmp_path) as (node, client), stub(node.inner) as calls, asyncio.timeout(60):
        source = (await client.upload(noise(tmp_path / "noise.wav", 10))).name
        created = await calls.CreateAnalysis(analysis_pb2.CreateAnalysisRequest(source=source))
        fractions = []
        async for response in calls.WatchAnalysis(analysis_pb2.WatchAnalysisRequest(name=created.analysis.name)):
            fractions.append(response.analysis.fraction_done)
            if 0 < fractions[-1] < 1:
                seen.set()
        assert seen.is_set()
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1


async def test_an_analysis_that_kills_every_conductor_fails(tmp_path: Path) -> None:
    deaf = socket.create_server(("127.0.0.1", 0))  # an analyzer that never answers
    address = f"127.0.0.1:{deaf.getsockname()[1]}"
    segued = Segued(tmp_path / "home", "--conductor-max-claims", "1", "--analyzer-address", address)
    try:
        segued.start()
        async with Client(segued.address) as client:
            source = (await client.upload(noise(tmp_path / "noise.wav", 1))).name
        async with stub(segued.address) as calls:
            name = (await calls.CreateAnalysis(analysis_pb2.CreateAnalysisRequest(source=source))).analysis.name
            async for response in calls.WatchAnalysis(analysis_pb2.WatchAnalysisRequest(name=name)):
                if response.analysis.state == composition_pb2.STATE_RENDERING:
                    break
            segued.kill()
        await asyncio.to_thread(segued.start)
        await until_alone(tmp_path / "home", name)
        segued.kill()
        await asyncio.to_thread(segued.start)
        async with stub(segued.address) as calls:
            watched = calls.WatchAnalysis(analysis_pb2.WatchAnalysisRequest(name=name))
            analyses = [response.analysis async for response in watched]
        assert analyses[-1].state == composition_pb2.STATE_FAILED
        assert analyses[-1].error.code == grpc.StatusCode.ABORTED.value[0]
        assert "not tried again" in analyses[-1].error.message
    finally:
        segued.stop()
        deaf.close()


async def until_alone(home: Path, name: str) -> None:
    """Wait until a job is worked on alone, as one that may have ended its conductor."""
    async with opened_store(home) as store, asyncio.timeout(60):
        while not (job := await store.get(name)) or not job.alone:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.05)


async def test_a_deletion_that_fails_in_the_middle_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Failing(monkeypatch, "delete_prefix", 1, of=shape().artifacts_class)
    async with embedded(tmp_path) as (_, client):
        heard = await hear(client.compose(spec(seconds=4)))
        await client.delete(heard.composition.name)
        assert failing.failed.is_set()
        assert not any(shape().artifact_folder(tmp_path).rglob(heard.composition.name.rpartition("/")[2]))
        waiting = await client.create(ASKED)
        with pytest.raises(SegueError) as caught:
            await client.delete(waiting.name)
        assert caught.value.reason == "NOT_FINISHED"
        await client.cancel(waiting.name)


async def test_bytes_can_be_sent_again_while_the_first_call_still_writes_them(tmp_path: Path) -> None:
    """A client repeats a call after a broken connection, while the server still works on the first call."""
    content = bytes(range(256)) * 1000
    async with embedded(tmp_path) as (node, _), stub(node.inner) as calls:
        created = await calls.CreateUpload(
            files_pb2.CreateUploadRequest(media_type="audio/wav", size_bytes=len(content))
        )
        write = files_pb2.WriteUploadRequest(upload=created.upload.name, data=content, crc32c=crc32c(content))
        answers = await asyncio.gather(*(calls.WriteUpload(write) for _ in range(8)))
        assert [each.upload.offset for each in answers] == [len(content)] * 8
        # Different bytes at the same offset are refused.
        longer = files_pb2.WriteUploadRequest(upload=write.upload, data=content + b"x", crc32c=crc32c(content + b"x"))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await calls.WriteUpload(longer)
        assert refused.value.code() is grpc.StatusCode.OUT_OF_RANGE
        digest = hashlib.sha256(content).hexdigest()
        finish = files_pb2.FinishUploadRequest(upload=write.upload, sha256=digest)
        finished = await asyncio.gather(*(calls.FinishUpload(finish) for _ in range(8)))
        assert [each.upload.sha256 for each in finished] == [digest] * 8


async def test_an_upload_is_deleted_when_it_has_expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_class = shape().store_class
    cleans, expired = False, store_class.expired_uploads

    async def when_told(store: Store) -> Sequence[Upload]:
        found: Sequence[Upload] = await expired(store) if cleans else []
        return found

    monkeypatch.setattr(store_class, "expired_uploads", when_told)
    monkeypatch.setattr(conductor, "CLEAN_EVERY_S", 0.05)
    flags: dict[str, object] = {"store.retention": "1s", "limits.upload_bytes": "1MiB"}
    async with embedded(tmp_path, flags) as (_, client):
        source = (await client.upload(noise(tmp_path / "noise.wav", 2))).name
        with pytest.raises(SegueError) as caught:
            await client.upload(tmp_path / "noise.wav")
        assert caught.value.reason == "QUOTA_EXCEEDED"
        cleans = True
        async with asyncio.timeout(30):
            while any(shape().artifact_folder(tmp_path).rglob(source.rpartition("/")[2])):  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.02)
        cleans = False
        again = await client.upload(tmp_path / "noise.wav")
        assert again.finished
        with pytest.raises(SegueError) as caught:
            await client.create_master(source)
        assert caught.value.code is grpc.StatusCode.NOT_FOUND
