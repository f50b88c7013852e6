"""Takes as the analyzer measures them: complete, with their tails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue.analyzer.v1 import analyzer_pb2
from segue_conductor.analyzer_call import request_report
from segue_runtime.rpc.chunks import MESH_CHUNK_BYTES, cut, f32le

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from segue.music.v1.music_pb2 import Plan
    from segue_composition.peers import Peers
    from segue_conductor.render.take_store import Take

READ_FRAMES: Final = 16_384


async def analyze_take(
    peers: Peers,
    take: Take,
    timeout_s: float,
    *,
    plan: Plan | None = None,
    progress: Callable[[float], Awaitable[None]] | None = None,
) -> analyzer_pb2.Report:
    """Measure a complete take; `progress` receives the fraction of its frames that was sent."""
    accepted = await take.wait_accepted()

    async def requests() -> AsyncIterator[analyzer_pb2.AnalyzeRequest]:
        yield analyzer_pb2.AnalyzeRequest(start=analyzer_pb2.AnalyzeStart(format=accepted.format, plan=plan))
        sound = f32le(accepted.format.sample_rate, accepted.format.channels)
        position = 0
        while audio := await take.read(position, READ_FRAMES):
            for piece in cut(audio, sound, position, most_bytes=MESH_CHUNK_BYTES):
                yield analyzer_pb2.AnalyzeRequest(audio=piece)
            position += len(audio) // take.frame_bytes
            if progress is not None:
                await progress(position / take.frames())

    return await request_report(peers, requests(), timeout_s)
