"""Measured beats: where a take whose renderer does not keep to the plan's beat really has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue.analyzer.v1 import analyzer_pb2
from segue.music.v1 import music_pb2
from segue_conductor.analyzer_call import ask_report
from segue_runtime.rpc.chunks import cut, f32le

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue.music.v1.music_pb2 import PlannedSection
    from segue.renderer.v1.renderer_pb2 import RenderAccepted
    from segue_conductor.composition_job import Context
    from segue_conductor.render.take_store import Take

READ_FRAMES: Final = 16_384
SURE: Final = 0.5
"""From this confidence of the tempo on, where bars begin is believed too."""


@dataclass(frozen=True)
class Beats:
    """Beats and first beats of bars, in frames of the take, and how far the take goes on beyond its section."""

    beats: tuple[int, ...] = ()
    downbeats: tuple[int, ...] = ()
    tail_frames: int = 0


def goes_on(section: PlannedSection, accepted: RenderAccepted) -> bool:
    """Whether a take goes on from the sound before it; the plan says so too, unless an edit put another one there."""
    return accepted.continuous and section.join.kind == music_pb2.JOIN_KIND_HARD


async def needs_beats(section: PlannedSection, take: Take) -> bool:
    """Whether only measuring tells where a take has its beats."""
    accepted = await take.wait_accepted()
    return not accepted.sample_locked and not goes_on(section, accepted)


async def find_beats(context: Context, section: PlannedSection, take: Take) -> Beats:
    """Measure a take, when it is complete."""
    finished, accepted = await take.wait_finished(), await take.wait_accepted()
    plan = music_pb2.Plan(
        sample_rate=context.plan.sample_rate,
        quarters_per_minute=section.spec.tempo_points[0].quarters_per_minute,
        metre=section.spec.metre,
        key=section.spec.key,
        sections=[music_pb2.PlannedSection(spec=section.spec)],
    )

    async def requests() -> AsyncIterator[analyzer_pb2.AnalyzeRequest]:
        yield analyzer_pb2.AnalyzeRequest(start=analyzer_pb2.AnalyzeStart(format=accepted.format, plan=plan))
        position = 0
        while audio := await take.read(position, READ_FRAMES):
            for piece in cut(audio, f32le(accepted.format.sample_rate, accepted.format.channels), position):
                yield analyzer_pb2.AnalyzeRequest(audio=piece)
            position += len(audio) // take.frame_bytes

    tempo = (await ask_report(context.peers, requests(), context.remaining_s())).tempo
    return Beats(
        beats=tuple(tempo.beats),
        downbeats=tuple(tempo.downbeats) if tempo.confidence >= SURE else (),
        tail_frames=finished.tail_frames,
    )
