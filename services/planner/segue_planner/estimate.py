"""What a plan will take: windows, time and memory, from the model's profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.plan import ModelProfile, Plan, SectionSpec

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class SectionEstimate:
    """What one section will take; None where the model's speed is not known."""

    section_id: str
    windows: int
    render_ns: int | None


@dataclass(frozen=True)
class Estimate:
    """What a piece will take."""

    model: str
    frames: int
    duration_ns: int
    sections: tuple[SectionEstimate, ...]
    render_ns: int | None
    memory_bytes: int


def estimate(plan: Plan, profiles: Sequence[ModelProfile]) -> Estimate:
    """Estimate a complete plan for the first of the profiles."""
    profile = profiles[0] if profiles else None
    sections = tuple(_section(item.spec, profile) for item in plan.sections)
    times = [section.render_ns for section in sections]
    return Estimate(
        model=profile.model if profile else "",
        frames=plan.frames,
        duration_ns=plan.frames * NANOSECONDS // plan.sample_rate,
        sections=sections,
        render_ns=None if None in times else sum(time for time in times if time is not None),
        memory_bytes=profile.memory_bytes if profile else 0,
    )


def _section(spec: SectionSpec, profile: ModelProfile | None) -> SectionEstimate:
    length_ns = (spec.frames + spec.tail_frames) * NANOSECONDS // spec.sample_rate
    windows = 0
    if profile and profile.window_ns:
        stride = profile.stride_ns or profile.window_ns
        windows = 1 + max(0, -(-(length_ns - profile.window_ns) // stride))
    render = round(length_ns / profile.real_time_factor) if profile and profile.real_time_factor else None
    return SectionEstimate(spec.section_id, windows, render)
