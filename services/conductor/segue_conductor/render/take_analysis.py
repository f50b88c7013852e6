"""Takes as the analyzer measures and separates them: complete, with their tails."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from segue.analyzer.v1 import analyzer_pb2
from segue.music.v1 import music_pb2
from segue_composition.artifact_keys import find_take
from segue_conductor.analyzer_call import request_report, request_stems
from segue_conductor.render.take_store import TakeStore
from segue_runtime import errors
from segue_runtime.rpc.chunks import MESH_CHUNK_BYTES, cut, f32le

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from segue.audio.v1.audio_pb2 import AudioChunk, AudioFormat
    from segue.music.v1.music_pb2 import PlannedSection
    from segue_composition.peers import Peers
    from segue_composition.services import Services
    from segue_conductor.composition_job import CompositionJob
    from segue_conductor.render.take_store import Take

READ_FRAMES: Final = 16_384


async def analyze_take(
    peers: Peers,
    take: Take,
    start: analyzer_pb2.AnalyzeStart,
    timeout_s: float,
    *,
    progress: Callable[[float], Awaitable[None]] | None = None,
    partial: Callable[[analyzer_pb2.PartialReport], Awaitable[None]] | None = None,
) -> analyzer_pb2.Report:
    """Measure a complete take; `progress` receives the fraction of its frames that was sent."""
    accepted = await take.wait_accepted()

    async def requests() -> AsyncIterator[analyzer_pb2.AnalyzeRequest]:
        begun = analyzer_pb2.AnalyzeStart(format=accepted.format)
        begun.MergeFrom(start)
        yield analyzer_pb2.AnalyzeRequest(start=begun)
        async for piece in _pieces(take, accepted.format):
            yield analyzer_pb2.AnalyzeRequest(audio=piece)
            if progress is not None:
                await progress((piece.first_frame + piece.frames) / take.frames())

    return await request_report(peers, requests(), timeout_s, partial)


async def analyze_planned(job: CompositionJob, section: PlannedSection, take: Take) -> analyzer_pb2.Report:
    """Measure a complete take beside the plan of its section; a take is measured once."""
    if take.report is None:
        plan = music_pb2.Plan(
            sample_rate=job.plan.sample_rate,
            quarters_per_minute=section.spec.tempo_points[0].quarters_per_minute,
            metre=section.spec.metre,
            key=section.spec.key,
            sections=[music_pb2.PlannedSection(spec=section.spec)],
        )
        start = analyzer_pb2.AnalyzeStart(plan=plan)
        take.report = await analyze_take(job.claim.peers, take, start, job.claim.remaining_s())
    return take.report


async def separate_take(
    peers: Peers, take: Take, kind: analyzer_pb2.SeparatorKind.ValueType, timeout_s: float
) -> AsyncGenerator[analyzer_pb2.SeparateResponse]:
    """Separate a complete take; yields what the analyzer sends."""
    accepted = await take.wait_accepted()

    async def requests() -> AsyncIterator[analyzer_pb2.SeparateRequest]:
        yield analyzer_pb2.SeparateRequest(start=analyzer_pb2.SeparateStart(format=accepted.format, kind=kind))
        async for piece in _pieces(take, accepted.format):
            yield analyzer_pb2.SeparateRequest(audio=piece)

    async with contextlib.aclosing(request_stems(peers, requests(), timeout_s)) as answers:
        async for response in answers:
            yield response


async def named_take(services: Services, name: str) -> Take:
    """Return the take with a name, such as "compositions/9f2c/takes/chorus-1"."""
    found = await find_take(services.store, name)
    take = await TakeStore(services.artifacts, found[0]).find(found[1], stems=False) if found else None
    if take is None:
        raise errors.ArtifactNotFound(f"there is no {name} any more", metadata={"name": name})
    return take


async def _pieces(take: Take, sound_format: AudioFormat) -> AsyncIterator[AudioChunk]:
    sound = f32le(sound_format.sample_rate, sound_format.channels)
    position = 0
    while audio := await take.read(position, READ_FRAMES):
        for piece in cut(audio, sound, position, most_bytes=MESH_CHUNK_BYTES):
            yield piece
        position += len(audio) // take.frame_bytes
