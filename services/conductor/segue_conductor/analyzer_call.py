"""What the analyzer is asked: the finished master of a composition, or a file that a caller sent."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from segue.analyzer.v1 import analyzer_pb2
from segue.audio.v1 import audio_pb2
from segue_conductor.mix.segments import recorded
from segue_runtime import errors
from segue_runtime.rpc.chunks import cut, f32le
from segue_runtime.rpc.duplex import exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from segue_composition.peers import Peers
    from segue_conductor.composition_job import Context
    from segue_runtime.artifacts import ArtifactStore

FILE_BLOCK_BYTES: Final = 256 * 1024


async def analyze_master(context: Context) -> analyzer_pb2.Report:
    """Measure the master against the plan."""

    async def requests() -> AsyncIterator[analyzer_pb2.AnalyzeRequest]:
        yield analyzer_pb2.AnalyzeRequest(
            start=analyzer_pb2.AnalyzeStart(
                format=audio_pb2.AudioFormat(
                    sample_rate=context.plan.sample_rate,
                    channels=context.channels,
                    sample_format=audio_pb2.SAMPLE_FORMAT_F32LE,
                ),
                plan=context.plan,
            )
        )
        for segment in await recorded(context.store, context.journal.name, audio_pb2.STAGE_MASTER):
            audio = await context.artifacts.read_all(segment.ref)
            for piece in cut(audio, f32le(segment.sample_rate, segment.channels), segment.first_frame):
                yield analyzer_pb2.AnalyzeRequest(audio=piece)

    return await ask_report(context.peers, requests(), context.remaining_s())


async def analyze_file(
    peers: Peers, artifacts: ArtifactStore, key: str, timeout_s: float, progress: Callable[[float], Awaitable[None]]
) -> analyzer_pb2.Report:
    """Measure an encoded file; `progress` gets the fraction of its bytes that was sent."""
    size = await artifacts.size(key)

    async def requests() -> AsyncIterator[analyzer_pb2.AnalyzeRequest]:
        yield analyzer_pb2.AnalyzeRequest(start=analyzer_pb2.AnalyzeStart())
        offset = 0
        async for block in artifacts.read_blocks(key):
            for start in range(0, len(block), FILE_BLOCK_BYTES):
                piece = block[start : start + FILE_BLOCK_BYTES]
                yield analyzer_pb2.AnalyzeRequest(file=analyzer_pb2.FileBytes(offset=offset, data=piece))
                offset += len(piece)
                await progress(offset / max(1, size))

    return await ask_report(peers, requests(), timeout_s)


async def ask_report(
    peers: Peers, requests: AsyncIterator[analyzer_pb2.AnalyzeRequest], timeout_s: float
) -> analyzer_pb2.Report:
    """Ask the analyzer and wait for its report."""
    answers = exchange(peers.analyzer.Analyze, requests, service="analyzer", timeout_s=timeout_s)
    async with contextlib.aclosing(answers):
        async for response in answers:
            if response.WhichOneof("message") == "report":
                report: analyzer_pb2.Report = response.report
                return report
    raise errors.ServiceUnreachable("the analyzer ended without a report", metadata={"service": "analyzer"})
