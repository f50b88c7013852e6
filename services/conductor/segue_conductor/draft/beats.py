"""Measured beats of takes whose renderer does not keep to the plan's beat, and how sections are placed on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue.music.v1 import music_pb2
from segue_conductor.render.take_analysis import analyze_planned

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from segue.music.v1.music_pb2 import PlannedSection
    from segue.renderer.v1.renderer_pb2 import RenderAccepted
    from segue_conductor.composition_job import CompositionJob
    from segue_conductor.render.take_store import Take

SURE: Final = 0.5
"""The confidence in the tempo from which measured bar lines are used."""


@dataclass(frozen=True)
class TakeBeats:
    """Beats and bar lines in frames of the take, and the length of the take's tail."""

    beats: tuple[int, ...] = ()
    downbeats: tuple[int, ...] = ()
    tail_frames: int = 0


@dataclass(frozen=True)
class BeatPlacement:
    """How a section is placed on the beats of the section before; by default as planned."""

    shift_frames: int | None = None
    """The shift that an earlier mix has used."""
    measure: Callable[[], Awaitable[TakeBeats]] | None = None
    measure_last: bool = False
    """Send the audio first and the beats after it."""


def continues_previous(section: PlannedSection, accepted: RenderAccepted) -> bool:
    """Return whether a take continues the audio before it, and no edit has put another section there."""
    return accepted.continuous and section.join.kind == music_pb2.JOIN_KIND_HARD


async def needs_beats(section: PlannedSection, take: Take) -> bool:
    """Return whether the beats of a take must be measured."""
    accepted = await take.wait_accepted()
    return not accepted.sample_locked and not continues_previous(section, accepted)


async def measure_beats(job: CompositionJob, section: PlannedSection, take: Take) -> TakeBeats:
    """Let the analyzer measure a take as soon as it is complete."""
    finished = await take.wait_finished()
    tempo = (await analyze_planned(job, section, take)).tempo
    return TakeBeats(
        beats=tuple(tempo.beats),
        downbeats=tuple(tempo.downbeats) if tempo.confidence >= SURE else (),
        tail_frames=finished.tail_frames,
    )
