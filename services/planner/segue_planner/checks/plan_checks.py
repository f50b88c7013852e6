"""Checks of the whole plan: what makes filling impossible, and totals that are wrong."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from segue_music import timing
from segue_music.theory import key_name
from segue_planner.checks.section_checks import LEAVE_OUT
from segue_planner.genres.genre import genres, unknown_genre
from segue_planner.limits import MAX_SECONDS
from segue_planner.names import bars_name, metre_name
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_music.elements import Metre
    from segue_music.plan import Plan, SectionSpec

SAME_TEMPO: Final = 1e-6
"""The largest difference of two tempos, in quarters a minute, that counts as none."""
MAX_ID_LETTERS: Final = 59
"""The length of an id to which "-2" is still added."""


def check_before_filling(plan: Plan) -> Iterator[FieldViolation]:
    """Find what makes it impossible to fill a plan."""
    if plan.genre and plan.genre not in genres():
        yield unknown_genre("plan.genre", plan.genre)
    yield from _check_order(plan)
    yield from _check_main_tempo(plan)
    yield from _check_main_metre_and_key(plan)
    for index, item in enumerate(plan.sections):
        path, spec = f"plan.sections[{index}].spec", item.spec
        if spec.genre and spec.genre not in genres():
            yield unknown_genre(f"{path}.genre", spec.genre)
        yield from _check_tempo_points(path, spec, spec.metre or plan.metre)


def _check_order(plan: Plan) -> Iterator[FieldViolation]:
    """Find ids that occur twice, and sections that wait for one, or imitate one, that is not before them."""
    seen: list[str] = []
    for index, item in enumerate(plan.sections):
        name, path = item.spec.section_id, f"plan.sections[{index}]"
        if name in seen:
            candidates = (f"{name[:MAX_ID_LETTERS]}-{number}" for number in itertools.count(2))
            yield FieldViolation(
                f"{path}.spec.section_id",
                f"{name!r} is also the id of section {seen.index(name) + 1}",
                next(each for each in candidates if each not in seen),
            )
        named = {f"{path}.waits_for[{position}]": other for position, other in enumerate(item.waits_for)}
        if item.spec.timbre_section:
            named[f"{path}.spec.timbre_section"] = item.spec.timbre_section
        for field, other in named.items():
            if other not in seen:
                known = f"the earlier sections are: {', '.join(seen)}" if seen else "this is the first section"
                problem = f"{other!r} is not an earlier section; {known}"
                yield FieldViolation(field, problem, seen[-1] if seen else LEAVE_OUT)
        seen.append(name)


def _check_main_tempo(plan: Plan) -> Iterator[FieldViolation]:
    """Find a tempo of the piece that is the tempo of no section: an edit has forgotten the sections."""
    specs = [item.spec for item in plan.sections]
    tempos = [spec.tempo_points[0].quarters_per_minute for spec in specs if spec.tempo_points]
    if len(tempos) == len(specs) and all(abs(each - plan.quarters_per_minute) > SAME_TEMPO for each in tempos):
        yield FieldViolation(
            "plan.quarters_per_minute",
            f"it is {plan.quarters_per_minute:.6g}, but no section begins at that tempo; change the sections' "
            "tempo_points too, or omit them",
            f"{tempos[0]:.17g}",
        )


def _check_main_metre_and_key(plan: Plan) -> Iterator[FieldViolation]:
    """Find a metre or key of the piece that no section has: an edit has forgotten the sections."""
    specs = [item.spec for item in plan.sections]
    metres = [spec.metre or plan.metre for spec in specs]
    if plan.metre not in metres:
        yield FieldViolation(
            "plan.metre",
            f"it is {metre_name(plan.metre)}, but no section has it; change the sections' metre too, or omit it",
            metre_name(metres[0]),
        )
    keys = [spec.key or plan.key for spec in specs]
    if plan.key not in keys:
        yield FieldViolation(
            "plan.key",
            f"it is {key_name(plan.key)}, but no section is in that key; change the sections' key and chords too, "
            "or omit them",
            key_name(keys[0]),
        )


def _check_tempo_points(path: str, spec: SectionSpec, metre: Metre) -> Iterator[FieldViolation]:
    points = spec.tempo_points
    if not points:
        return
    if points[0].start_tick != 0:
        yield FieldViolation(
            f"{path}.tempo_points[0].start_tick",
            f"it is {points[0].start_tick}, but the first point must be at tick 0",
            "0",
        )
    for index, (earlier, later) in enumerate(itertools.pairwise(points), 1):
        if later.start_tick <= earlier.start_tick:
            yield FieldViolation(
                f"{path}.tempo_points[{index}].start_tick",
                f"it is {later.start_tick}, but it must come after the point before, at tick {earlier.start_tick}",
                str(earlier.start_tick + timing.ticks_per_beat(metre)),
            )
    end = spec.bars * timing.ticks_per_bar(metre)
    if points[-1].start_tick >= end:
        yield FieldViolation(
            f"{path}.tempo_points[{len(points) - 1}].start_tick",
            f"it is {points[-1].start_tick}, but {bars_name(spec.bars)} of {metre_name(metre)} end at tick {end}",
            str(end - timing.ticks_per_bar(metre)),
        )


def check_totals(plan: Plan, frames: int, rate: int, first_frames: Sequence[int]) -> Iterator[FieldViolation]:
    """Find wrong totals. `first_frames` are the true positions of the sections."""
    if plan.frames and plan.frames != frames:
        yield FieldViolation(
            "plan.frames", f"it is {plan.frames}, but the sections and the tail have {frames} frames", str(frames)
        )
    if frames > MAX_SECONDS * rate:
        yield FieldViolation(
            "plan.sections", f"they take {frames / rate:.1f} s; the maximum is {MAX_SECONDS} s", "use fewer bars"
        )
    bars = 0
    for index, (item, first_frame) in enumerate(zip(plan.sections, first_frames, strict=True)):
        path = f"plan.sections[{index}]"
        if item.first_frame and item.first_frame != first_frame:
            yield FieldViolation(
                f"{path}.first_frame",
                f"it is {item.first_frame}, but the sections before have {first_frame} frames",
                str(first_frame),
            )
        if item.first_bar and item.first_bar != bars:
            yield FieldViolation(
                f"{path}.first_bar",
                f"it is {item.first_bar}, but the sections before have {bars_name(bars)}",
                str(bars),
            )
        bars += item.spec.bars
