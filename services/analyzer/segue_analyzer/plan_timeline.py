"""What a piece should be like: its plan on the timeline of the sound that is measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from segue_music import timing
from segue_music.elements import TempoPoint
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.elements import Key, Metre
    from segue_music.plan import Plan, SectionSpec

MAX_AT_ONCE: Final = 8
DEFAULT_RATE: Final = 48_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the sound to measure by itself, in frames of the sound."""

    section_id: str
    first_frame: int
    frames: int

    @property
    def end_frame(self) -> int:
        """Return the frame after the last."""
        return self.first_frame + self.frames


@dataclass(frozen=True, slots=True)
class PlannedStretch:
    """What the plan says about one section."""

    stretch: Stretch
    key: Key
    metre: Metre
    beats_per_minute: float
    energy: tuple[float, ...]
    bar_frames: tuple[int, ...]
    """Where its bars begin, and where the last one ends: one more than energy has values."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is known before measuring; all empty when nothing is."""

    stretches: tuple[Stretch, ...] = ()
    planned: tuple[PlannedStretch, ...] = field(default=())
    beats_per_minute: float | None = None
    metre: Metre | None = None

    def planned_for(self, section_id: str) -> PlannedStretch | None:
        """Return what the plan says about a section."""
        return next((each for each in self.planned if each.stretch.section_id == section_id), None)


def make_target(plan: Plan | None, given: Sequence[Stretch], sample_rate: int) -> Target:
    """Lay the plan on the sound's timeline; sections that were given are measured instead of the plan's."""
    _check_overlap(given, "start.sections")
    if plan is None:
        return Target(stretches=tuple(given))
    planned = _lay_out(plan, sample_rate)
    if not given:
        _check_overlap([each.stretch for each in planned], "plan.sections")
    return Target(
        stretches=tuple(given) or tuple(each.stretch for each in planned),
        planned=planned,
        beats_per_minute=felt_tempo(plan.quarters_per_minute, plan.metre),
        metre=plan.metre,
    )


def felt_tempo(quarters_per_minute: float, metre: Metre) -> float:
    """Beats a minute, as the metre counts beats."""
    return quarters_per_minute * timing.TICKS_PER_QUARTER / timing.ticks_per_beat(metre)


def in_quarters(beats_per_minute: float, metre: Metre | None) -> float:
    """Quarters a minute of felt beats; without a metre the beat is taken for a quarter."""
    if metre is None:
        return beats_per_minute
    return beats_per_minute * timing.ticks_per_beat(metre) / timing.TICKS_PER_QUARTER


def _lay_out(plan: Plan, sample_rate: int) -> tuple[PlannedStretch, ...]:
    rate = plan.sample_rate or DEFAULT_RATE
    found: list[PlannedStretch] = []
    position = 0
    for index, section in enumerate(plan.sections):
        spec = section.spec
        metre = spec.metre or plan.metre
        points = spec.tempo_points or (TempoPoint(0, plan.quarters_per_minute),)
        try:
            tempo = timing.TempoMap.of(points)
        except ValueError as error:
            raise _wrong(index, "tempo_points", str(error)) from None
        frames = spec.frames or tempo.frame(spec.bars * timing.ticks_per_bar(metre), rate)
        first = section.first_frame or position
        if spec.energy and len(spec.energy) != spec.bars:
            raise _wrong(index, "energy", f"{len(spec.energy)} values for {spec.bars} bars")
        ticks = timing.ticks_per_bar(metre)
        bars = tuple(_scaled(first + tempo.frame(bar * ticks, rate), rate, sample_rate) for bar in range(spec.bars + 1))
        start, end = (_scaled(place, rate, sample_rate) for place in (first, first + frames))
        found.append(
            PlannedStretch(
                stretch=Stretch(spec.section_id, start, end - start),
                key=spec.key or plan.key,
                metre=metre,
                beats_per_minute=felt_tempo(_mean_tempo(spec, plan, tempo), metre),
                energy=spec.energy,
                bar_frames=bars,
            )
        )
        position = first + frames
    return tuple(found)


def _mean_tempo(spec: SectionSpec, plan: Plan, tempo: timing.TempoMap) -> float:
    """Quarters a minute over the whole section."""
    ticks = spec.bars * timing.ticks_per_bar(spec.metre or plan.metre)
    return 60.0 * ticks / timing.TICKS_PER_QUARTER / tempo.seconds(ticks)


def _scaled(frame: int, rate_from: int, rate_to: int) -> int:
    return (2 * frame * rate_to + rate_from) // (2 * rate_from)


def _check_overlap(stretches: Sequence[Stretch], place: str) -> None:
    """Sections may overlap, but each is measured by a meter of its own: so many at once is enough."""
    if _most_at_once(stretches) > MAX_AT_ONCE:
        text = f"more than {MAX_AT_ONCE} sections overlap at one place"
        raise errors.InvalidField(f"{place}: {text}", violations=[FieldViolation(place, text)])


def _most_at_once(stretches: Sequence[Stretch]) -> int:
    """How many of them overlap at the place where most do."""
    edges = sorted([(each.first_frame, 1) for each in stretches] + [(each.end_frame, -1) for each in stretches])
    return max(accumulate(step for _, step in edges), default=0)


def _wrong(index: int, field_name: str, text: str) -> errors.SegueError:
    place = f"plan.sections[{index}].spec.{field_name}"
    return errors.InvalidPlan(f"{place}: {text}", violations=[FieldViolation(place, text)])
