"""Calls to the analyzer: for a finished master, and for a file that is measured or separated."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from segue.analyzer.v1 import analyzer_pb2
from segue_runtime import errors
from segue_runtime.artifacts import verified_blocks
from segue_runtime.rpc.chunks import MESH_CHUNK_BYTES, cut, f32le
from segue_runtime.rpc.duplex import exchange

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

    from segue_composition.log_rows import Segment
    from segue_composition.peers import Peers
    from segue_conductor.composition_job import CompositionJob
    from segue_runtime.artifacts import ArtifactStore, Ref

FILE_BLOCK_BYTES: Final = 256 * 1024


async def analyze_master(job: CompositionJob, segments: Sequence[Segment]) -> analyzer_pb2.Report:
    """Measure the master, whose audio is in `segments`, against the plan."""

    async def requests() -> AsyncIterator[analyzer_pb2.AnalyzeRequest]:
        start = analyzer_pb2.AnalyzeStart(format=job.timeline.audio_format, plan=job.plan)
        yield analyzer_pb2.AnalyzeRequest(start=start)
        for segment in segments:
            audio = await job.claim.artifacts.read(segment.ref)
            sound = f32le(segment.sample_rate, segment.channels)
            for piece in cut(audio, sound, segment.first_frame, most_bytes=MESH_CHUNK_BYTES):
                yield analyzer_pb2.AnalyzeRequest(audio=piece)

    return await request_report(job.claim.peers, requests(), job.claim.remaining_s())


async def analyze_file(
    peers: Peers,
    artifacts: ArtifactStore,
    ref: Ref,
    start: analyzer_pb2.AnalyzeStart,
    timeout_s: float,
    progress: Callable[[float], Awaitable[None]],
    partial: Callable[[analyzer_pb2.PartialReport], Awaitable[None]] | None = None,
) -> analyzer_pb2.Report:
    """Measure an encoded file; `progress` receives the fraction of its bytes that was sent."""

    async def requests() -> AsyncIterator[analyzer_pb2.AnalyzeRequest]:
        yield analyzer_pb2.AnalyzeRequest(start=start)
        async for piece in _pieces(artifacts, ref):
            yield analyzer_pb2.AnalyzeRequest(file=piece)
            await progress((piece.offset + len(piece.data)) / max(1, ref.length))

    return await request_report(peers, requests(), timeout_s, partial)


async def separate_file(
    peers: Peers,
    artifacts: ArtifactStore,
    ref: Ref,
    kind: analyzer_pb2.SeparatorKind.ValueType,
    timeout_s: float,
) -> AsyncGenerator[analyzer_pb2.SeparateResponse]:
    """Separate an encoded file; yields what the analyzer sends."""

    async def requests() -> AsyncIterator[analyzer_pb2.SeparateRequest]:
        yield analyzer_pb2.SeparateRequest(start=analyzer_pb2.SeparateStart(kind=kind))
        async for piece in _pieces(artifacts, ref):
            yield analyzer_pb2.SeparateRequest(file=piece)

    async with contextlib.aclosing(request_stems(peers, requests(), timeout_s)) as answers:
        async for response in answers:
            yield response


async def _pieces(artifacts: ArtifactStore, ref: Ref) -> AsyncIterator[analyzer_pb2.FileBytes]:
    offset = 0
    async for block in verified_blocks(artifacts, ref):
        for start in range(0, len(block), FILE_BLOCK_BYTES):
            piece = block[start : start + FILE_BLOCK_BYTES]
            yield analyzer_pb2.FileBytes(offset=offset, data=piece)
            offset += len(piece)


async def request_stems(
    peers: Peers, requests: AsyncIterator[analyzer_pb2.SeparateRequest], timeout_s: float
) -> AsyncGenerator[analyzer_pb2.SeparateResponse]:
    """Send audio to the analyzer and yield the stems."""
    answers = exchange(peers.analyzer.Separate, requests, service="analyzer", timeout_s=timeout_s)
    async with contextlib.aclosing(answers):
        async for response in answers:
            yield response


async def request_report(
    peers: Peers,
    requests: AsyncIterator[analyzer_pb2.AnalyzeRequest],
    timeout_s: float,
    partial: Callable[[analyzer_pb2.PartialReport], Awaitable[None]] | None = None,
) -> analyzer_pb2.Report:
    """Send audio to the analyzer and wait for its report; `partial` receives what is known before."""
    answers = exchange(peers.analyzer.Analyze, requests, service="analyzer", timeout_s=timeout_s)
    async with contextlib.aclosing(answers):
        async for response in answers:
            if partial is not None and response.HasField("partial"):
                await partial(response.partial)
            if response.WhichOneof("message") == "report":
                report: analyzer_pb2.Report = response.report
                return report
    raise errors.RoleLost("the analyzer ended without a report", metadata={"service": "analyzer"})
