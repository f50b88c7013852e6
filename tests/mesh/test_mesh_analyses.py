"""Analyses are listed and cancelled as compositions are."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.mesh.harness import embedded, hear, spec, stub
from tests.mesh.harness import reach as reach_event
from tests.mesh.shapes import shape

from segue.composer.v1 import analysis_pb2, composition_pb2, files_pb2
from segue_client import SegueError
from segue_conductor import conductor

if TYPE_CHECKING:
    from pathlib import Path

    from segue.composer.v1.composer_pb2_grpc import ComposerServiceAsyncStub

LIMIT_S = 120


async def analyze(calls: ComposerServiceAsyncStub, source: str) -> str:
    answer = await calls.CreateAnalysis(analysis_pb2.CreateAnalysisRequest(source=source))
    return answer.analysis.name


async def reach(calls: ComposerServiceAsyncStub, name: str, state: int) -> analysis_pb2.Analysis:
    """Watch an analysis until it has a state."""
    async for answer in calls.WatchAnalysis(analysis_pb2.WatchAnalysisRequest(name=name)):
        if answer.analysis.state == state:
            return answer.analysis
    raise AssertionError(state)


async def test_a_queued_analysis_is_cancelled_at_once_and_a_running_one_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conductor, "FILE_JOBS_AT_ONCE", 1)
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # an analyzer that never answers
        await cancel_three(tmp_path, deaf.getsockname()[1])


async def cancel_three(home: Path, port: int) -> None:
    flags: dict[str, object] = {"analyzer.address": f"127.0.0.1:{port}", "conductor.count": "1"}
    async with embedded(home, flags) as (node, client), stub(node.inner) as calls, asyncio.timeout(LIMIT_S):
        (file := home / "tone.wav").write_bytes(b"RIFF" + bytes(64))
        source = (await client.upload(file)).name
        running = await analyze(calls, source)
        await reach(calls, running, composition_pb2.STATE_RENDERING)
        queued, last = await analyze(calls, source), await analyze(calls, source)
        listed = [each.name async for each in client.analyses()]
        assert listed == [last, queued, running]
        assert [each.name async for each in client.analyses('state = "RENDERING"')] == [running]
        # Pieces have workers of their own.
        piece = (await client.create(spec(seconds=2))).name
        await reach_event(client.watch(piece), "draft_finished")
        await client.cancel(piece)

        for _ in range(2):  # again: it does not change
            ended = await client.cancel_analysis(queued)
            assert (ended.state, ended.error.code) == (composition_pb2.STATE_CANCELLED, 1)
            assert queued in ended.error.message
            assert ended.HasField("end_time")
        with pytest.raises(grpc.aio.AioRpcError, match="needed by") as caught:
            await calls.DeleteUpload(files_pb2.DeleteUploadRequest(upload=source))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        await client.cancel_analysis(running)
        ended = await reach(calls, running, composition_pb2.STATE_CANCELLED)
        assert running in ended.error.message
        await reach(calls, last, composition_pb2.STATE_RENDERING)  # its worker is free
        await client.cancel_analysis(last)
        await reach(calls, last, composition_pb2.STATE_CANCELLED)
        await client.delete_upload(source)
        assert [each.state async for each in client.analyses('state = "CANCELLED"')] == [8, 8, 8]


async def test_analyses_are_listed_in_pages_and_by_state_only(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (node, client), stub(node.inner) as calls, asyncio.timeout(LIMIT_S):
        (file := tmp_path / "tone.wav").write_bytes(b"RIFF" + bytes(64))
        source = (await client.upload(file)).name
        names = [await analyze(calls, source) for _ in range(3)]
        request = analysis_pb2.ListAnalysesRequest(page_size=2)
        first = await calls.ListAnalyses(request)
        request.page_token = first.next_page_token
        second = await calls.ListAnalyses(request)
        assert [each.name for page in (first, second) for each in page.analyses] == names[::-1]
        request.filter = 'state = "FAILED"'
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await calls.ListAnalyses(request)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        for wrong in ('session = "a"', 'state = "NONE"'):
            with pytest.raises(SegueError) as refused:
                [each async for each in client.analyses(wrong)]
            assert refused.value.reason == "INVALID_FILTER"
        failed = await reach(calls, names[0], composition_pb2.STATE_FAILED)
        assert await client.cancel_analysis(names[0]) == failed  # it has ended and stays as it is


async def test_the_take_of_a_section_is_measured(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        piece = (await hear(client.compose(spec(seconds=12)))).composition
        draft = await client.analyze(piece.outputs[0].name)
        for planned in piece.plan.sections:
            name = f"{piece.name}/takes/{planned.spec.section_id}"
            states: list[analysis_pb2.Analysis] = []
            report = await client.analyze(name, states.append)
            assert states[-1].source == name
            # A take has the section and its tail, in the format of its model.
            assert report.format.sample_rate == planned.spec.sample_rate
            assert planned.spec.frames <= report.frames < planned.spec.frames + 12 * planned.spec.sample_rate
            assert report.frames < draft.frames or len(piece.plan.sections) == 1
            assert -40 < report.loudness.integrated_lufs < 0
        for missing in ("coda-9", "x"):
            with pytest.raises(SegueError) as caught:
                await client.analyze(f"{piece.name}/takes/{missing}")
            assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND")

        # The files of a take are lost: the analysis fails, and says which name has no audio any more.
        for file in (shape().artifact_folder(tmp_path) / "takes").rglob("*.json"):
            file.unlink()
        name = f"{piece.name}/takes/{piece.plan.sections[0].spec.section_id}"
        with pytest.raises(SegueError, match="any more") as caught:
            await client.analyze(name)
        assert (caught.value.reason, caught.value.metadata["name"]) == ("ARTIFACT_NOT_FOUND", name)
