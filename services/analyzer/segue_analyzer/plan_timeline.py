"""The plan on the timeline of the audio that is measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from segue_music import timing
from segue_music.elements import TempoPoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.elements import Chord, Key, Metre
    from segue_music.plan import Plan, SectionSpec
    from segue_runtime.errors import SegueError

MAX_AT_ONCE: Final = 8
DEFAULT_RATE: Final = 48_000


@dataclass(frozen=True, slots=True)
class SectionSpan:
    """The part of the audio that is a section, in frames of the audio."""

    section_id: str
    first_frame: int
    frames: int

    @property
    def end_frame(self) -> int:
        """The frame after the last one."""
        return self.first_frame + self.frames


@dataclass(frozen=True, slots=True)
class PlannedChord:
    """A chord of the plan, in frames of the audio."""

    chord: Chord
    first_frame: int
    end_frame: int


@dataclass(frozen=True, slots=True)
class PlannedSpan:
    """The plan of one section."""

    span: SectionSpan
    key: Key
    metre: Metre
    beats_per_minute: float
    energy: tuple[float, ...]
    bar_frames: tuple[int, ...]
    """First frame of every bar, and the end of the last one: one more value than `energy`."""
    chords: tuple[PlannedChord, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanTimeline:
    """Sections and plan that are known before measuring; empty without a plan."""

    spans: tuple[SectionSpan, ...] = ()
    planned: tuple[PlannedSpan, ...] = field(default=())
    beats_per_minute: float | None = None
    metre: Metre | None = None

    def planned_for(self, section_id: str) -> PlannedSpan | None:
        """Return the plan of a section."""
        return next((each for each in self.planned if each.span.section_id == section_id), None)


def lay_out_plan(plan: Plan | None, spans: Sequence[SectionSpan], sample_rate: int) -> PlanTimeline:
    """Lay the plan on the timeline of the audio; sections of the caller replace those of the plan."""
    _check_overlap(spans, "start.sections")
    if plan is None:
        return PlanTimeline(spans=tuple(spans))
    planned = _lay_out(plan, sample_rate)
    if not spans:
        _check_overlap([each.span for each in planned], "plan.sections")
    return PlanTimeline(
        spans=tuple(spans) or tuple(each.span for each in planned),
        planned=planned,
        beats_per_minute=felt_tempo(plan.quarters_per_minute, plan.metre),
        metre=plan.metre,
    )


def felt_tempo(quarters_per_minute: float, metre: Metre) -> float:
    """Return beats per minute, as the metre counts beats."""
    return quarters_per_minute * timing.TICKS_PER_QUARTER / timing.ticks_per_beat(metre)


def in_quarters(beats_per_minute: float, metre: Metre | None) -> float:
    """Return quarters per minute of felt beats; without a metre a beat is a quarter."""
    if metre is None:
        return beats_per_minute
    return beats_per_minute * timing.ticks_per_beat(metre) / timing.TICKS_PER_QUARTER


def _lay_out(plan: Plan, sample_rate: int) -> tuple[PlannedSpan, ...]:
    rate = plan.sample_rate or DEFAULT_RATE
    found: list[PlannedSpan] = []
    position = 0
    for index, section in enumerate(plan.sections):
        spec = section.spec
        metre = spec.metre or plan.metre
        points = spec.tempo_points or (TempoPoint(0, plan.quarters_per_minute),)
        try:
            tempo = timing.TempoMap.of(points)
        except ValueError as error:
            raise _invalid(index, "tempo_points", str(error)) from None
        frames = spec.frames or tempo.frame(spec.bars * timing.ticks_per_bar(metre), rate)
        first = section.first_frame or position
        if spec.energy and len(spec.energy) != spec.bars:
            raise _invalid(index, "energy", f"{len(spec.energy)} values for {spec.bars} bars")
        ticks = timing.ticks_per_bar(metre)
        bars = tuple(_scaled(first + tempo.frame(bar * ticks, rate), rate, sample_rate) for bar in range(spec.bars + 1))
        start, end = (_scaled(place, rate, sample_rate) for place in (first, first + frames))
        found.append(
            PlannedSpan(
                span=SectionSpan(spec.section_id, start, end - start),
                key=spec.key or plan.key,
                metre=metre,
                beats_per_minute=felt_tempo(_mean_tempo(spec, plan, tempo), metre),
                energy=spec.energy,
                bar_frames=bars,
                chords=tuple(
                    PlannedChord(
                        chord,
                        _scaled(first + tempo.frame(chord.start_tick, rate), rate, sample_rate),
                        _scaled(first + tempo.frame(chord.start_tick + chord.ticks, rate), rate, sample_rate),
                    )
                    for chord in spec.chords
                ),
            )
        )
        position = first + frames
    return tuple(found)


def _mean_tempo(spec: SectionSpec, plan: Plan, tempo: timing.TempoMap) -> float:
    """Return the mean quarters per minute of the section."""
    ticks = spec.bars * timing.ticks_per_bar(spec.metre or plan.metre)
    return 60.0 * ticks / timing.TICKS_PER_QUARTER / tempo.seconds(ticks)


def _scaled(frame: int, rate_from: int, rate_to: int) -> int:
    return (2 * frame * rate_to + rate_from) // (2 * rate_from)


def _check_overlap(spans: Sequence[SectionSpan], place: str) -> None:
    """Limit overlapping sections: each needs a meter of its own."""
    if _most_at_once(spans) > MAX_AT_ONCE:
        text = f"more than {MAX_AT_ONCE} sections overlap at one place"
        from segue_runtime import errors  # with gRPC

        raise errors.InvalidField(f"{place}: {text}", violations=[errors.FieldViolation(place, text)])


def _most_at_once(spans: Sequence[SectionSpan]) -> int:
    """Return the largest number of sections that overlap."""
    edges = sorted([(each.first_frame, 1) for each in spans] + [(each.end_frame, -1) for each in spans])
    return max(accumulate(step for _, step in edges), default=0)


def _invalid(index: int, field_name: str, text: str) -> SegueError:
    from segue_runtime import errors  # with gRPC

    place = f"plan.sections[{index}].spec.{field_name}"
    return errors.InvalidPlan(f"{place}: {text}", violations=[errors.FieldViolation(place, text)])
