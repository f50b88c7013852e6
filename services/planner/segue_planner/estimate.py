"""Estimates what rendering a plan takes: windows, time and memory, from the model's profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_music.timing import NANOSECONDS
from segue_planner.profiles import profile_of
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_music.plan import ModelProfile, Plan, SectionSpec

SHORTEST_NS: Final = NANOSECONDS // 1000
SLOWEST_FACTOR: Final = 1e-6
"""The slowest real-time factor. Below it, half an hour takes sixty years, and no message can hold the duration."""


@dataclass(frozen=True)
class SectionEstimate:
    """The estimate of one section; `render_ns` is None when the model's speed is unknown."""

    section_id: str
    windows: int
    render_ns: int | None


@dataclass(frozen=True)
class PlanEstimate:
    """The estimate of a piece."""

    model: str
    frames: int
    duration_ns: int
    sections: tuple[SectionEstimate, ...]
    render_ns: int | None
    memory_bytes: int


def estimate_plan(plan: Plan, profiles: Sequence[ModelProfile]) -> PlanEstimate:
    """Estimate a complete plan, each section for its own model; InvalidField when numbers make no estimate possible."""
    wrong = [fault for index, profile in enumerate(profiles) for fault in _check_profile(f"profiles[{index}]", profile)]
    if wrong:
        raise errors.InvalidField(f"{wrong[0].field}: {wrong[0].description}", violations=wrong)
    players = [profile_of(item.spec, profiles) for item in plan.sections]
    sections = tuple(_estimate_section(item.spec, player) for item, player in zip(plan.sections, players, strict=True))
    memory_bytes = {player.model: player.memory_bytes for player in players if player}
    times = [section.render_ns for section in sections]
    return PlanEstimate(
        model=profiles[0].model if profiles else "",
        frames=plan.frames,
        duration_ns=plan.frames * NANOSECONDS // plan.sample_rate,
        sections=sections,
        render_ns=None if None in times else sum(time for time in times if time is not None),
        memory_bytes=sum(memory_bytes.values()) if all(memory_bytes.values()) else 0,
    )


def _check_profile(path: str, profile: ModelProfile) -> Iterator[FieldViolation]:
    for name, span_ns in (("window", profile.window_ns), ("stride", profile.stride_ns)):
        if span_ns is not None and span_ns < SHORTEST_NS:
            yield FieldViolation(f"{path}.{name}", f"it is {span_ns} ns; the minimum is 1 ms", "30s")
    if 0 < profile.real_time_factor < SLOWEST_FACTOR:
        problem = f"it is {profile.real_time_factor:g}; the minimum is {SLOWEST_FACTOR:g}, or 0 when not measured"
        yield FieldViolation(f"{path}.real_time_factor", problem, "0")


def _estimate_section(spec: SectionSpec, profile: ModelProfile | None) -> SectionEstimate:
    length_ns = (spec.frames + spec.tail_frames) * NANOSECONDS // spec.sample_rate
    windows = 0
    if profile and profile.window_ns:
        stride = profile.stride_ns or profile.window_ns
        windows = 1 + max(0, -(-(length_ns - profile.window_ns) // stride))
    render_ns = None
    if profile and profile.real_time_factor:
        render_ns = round(max(length_ns, profile.min_window_ns or 0) / profile.real_time_factor)
    return SectionEstimate(spec.section_id, windows, render_ns)
