"""What is wrong with a caller's plan: each place with its value, what is allowed, and the nearest that would do."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from segue_music import timing
from segue_music.elements import LayerKind
from segue_music.plan import Role, TailPolicy
from segue_music.theory import key_name
from segue_planner.facts.resolver import bpm_name, metre_name
from segue_planner.genres.genre import genres, unknown_genre
from segue_planner.limits import MAX_SECONDS
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from segue_music.elements import Metre
    from segue_music.plan import Brief, Plan, SectionSpec

MAX_NEGATIVE_BYTES: Final = 200_000
"""How much the sections' negative prompts may take together."""
SAME_TEMPO: Final = 1e-6
LEAVE_OUT: Final = "leave it out: it is filled"


def before_filling(plan: Plan) -> Iterator[FieldViolation]:
    """Find what would make it impossible to fill a plan."""
    if plan.genre and plan.genre not in genres():
        yield unknown_genre("plan.genre", plan.genre)
    yield from _order(plan)
    yield from _main_values(plan)
    for index, item in enumerate(plan.sections):
        path, spec = f"plan.sections[{index}].spec", item.spec
        if spec.genre and spec.genre not in genres():
            yield unknown_genre(f"{path}.genre", spec.genre)
        yield from _tempo_points(path, spec, spec.metre or plan.metre)


def _order(plan: Plan) -> Iterator[FieldViolation]:
    seen: list[str] = []
    for index, item in enumerate(plan.sections):
        name, path = item.spec.section_id, f"plan.sections[{index}]"
        if name in seen:
            free = next(each for number in itertools.count(2) if (each := f"{name[:59]}-{number}") not in seen)
            yield FieldViolation(f"{path}.spec.section_id", f"{name!r} is section {seen.index(name) + 1} too", free)
        for place, other in enumerate(item.waits_for):
            if other not in seen:
                known = f"there are: {', '.join(seen)}" if seen else "it is the first"
                yield FieldViolation(
                    f"{path}.waits_for[{place}]",
                    f"{other!r} is no earlier section; {known}",
                    seen[-1] if seen else LEAVE_OUT,
                )
        seen.append(name)


def _main_values(plan: Plan) -> Iterator[FieldViolation]:
    """The piece's own tempo, metre and key are those of a section, or an edit has forgotten the sections."""
    specs = [item.spec for item in plan.sections]
    tempos = [
        point.quarters_per_minute for spec in specs for point in spec.tempo_points[:1] or (None,) if point is not None
    ]
    if len(tempos) == len(specs) and all(abs(each - plan.quarters_per_minute) > SAME_TEMPO for each in tempos):
        yield FieldViolation(
            "plan.quarters_per_minute",
            f"it is {plan.quarters_per_minute:.6g}, and no section begins in that tempo: change tempo_points of the "
            "sections too, or leave them out",
            f"{tempos[0]:.17g}",
        )
    metres = [spec.metre or plan.metre for spec in specs]
    if plan.metre not in metres:
        said = "it is {}, and no section has it: change metre of the sections too, or leave it out"
        yield FieldViolation("plan.metre", said.format(metre_name(plan.metre)), metre_name(metres[0]))
    keys = [spec.key or plan.key for spec in specs]
    if plan.key not in keys:
        said = "it is {}, and no section is in it: change key and chords of the sections too, or leave them out"
        yield FieldViolation("plan.key", said.format(key_name(plan.key)), key_name(keys[0]))


def _tempo_points(path: str, spec: SectionSpec, metre: Metre) -> Iterator[FieldViolation]:
    points = spec.tempo_points
    if not points:
        return
    if points[0].start_tick != 0:
        yield FieldViolation(
            f"{path}.tempo_points[0].start_tick", f"it is {points[0].start_tick}; the first point is at tick 0", "0"
        )
    for index, (earlier, later) in enumerate(itertools.pairwise(points), 1):
        if later.start_tick <= earlier.start_tick:
            yield FieldViolation(
                f"{path}.tempo_points[{index}].start_tick",
                f"it is {later.start_tick}; points ascend, and the one before is at {earlier.start_tick}",
                str(earlier.start_tick + timing.ticks_per_beat(metre)),
            )
    end = spec.bars * timing.ticks_per_bar(metre)
    if points[-1].start_tick >= end:
        yield FieldViolation(
            f"{path}.tempo_points[{len(points) - 1}].start_tick",
            f"it is {points[-1].start_tick}; {spec.bars} bars of {metre_name(metre)} end at tick {end}",
            str(end - timing.ticks_per_bar(metre)),
        )


def section(path: str, filled: SectionSpec, given: SectionSpec, *, last: bool) -> Iterator[FieldViolation]:
    """Find what does not fit together in a filled section."""
    if filled.metre is None:
        return
    frames = timing.section_frames(filled.bars, filled.metre, filled.tempo_points, filled.sample_rate)
    if abs(filled.frames - frames) > 1:
        yield FieldViolation(
            f"{path}.frames", f"it is {filled.frames}; {_bars(filled.bars)} in this tempo have {frames}", str(frames)
        )
    if len(filled.energy) != filled.bars:
        yield FieldViolation(
            f"{path}.energy",
            f"it has {len(filled.energy)} values; {_bars(filled.bars)} need {filled.bars}, one each",
            LEAVE_OUT,
        )
    if given.sample_rate and given.sample_rate != filled.sample_rate:
        yield FieldViolation(
            f"{path}.sample_rate", f"it is {given.sample_rate}; a section has the plan's", str(filled.sample_rate)
        )
    if filled.tail_frames and not last:
        yield FieldViolation(f"{path}.tail_frames", f"it is {filled.tail_frames}; only the last section rings out", "0")
    kinds = [layer.kind for layer in filled.layers]
    for index, kind in enumerate(kinds):
        if kind in kinds[:index]:
            free = [each.name for each in LayerKind if each and each not in kinds]
            yield FieldViolation(
                f"{path}.layers[{index}].kind",
                f"{kind.name} is layer {kinds.index(kind)} too; put its instruments there",
                free[0] if free else LEAVE_OUT,
            )
    yield from _chords(path, filled, filled.metre)


def _chords(path: str, filled: SectionSpec, metre: Metre) -> Iterator[FieldViolation]:
    end, tick = filled.bars * timing.ticks_per_bar(metre), 0
    for index, chord in enumerate(filled.chords):
        if chord.start_tick != tick:
            gap = "there is a gap before it" if chord.start_tick > tick else "it overlaps the one before"
            yield FieldViolation(
                f"{path}.chords[{index}].start_tick",
                f"it is {chord.start_tick}: {gap}",
                str(tick),
            )
            return
        tick += chord.ticks
    if tick != end:
        last = len(filled.chords) - 1
        wanted = filled.chords[last].ticks + end - tick
        yield FieldViolation(
            f"{path}.chords[{last}].ticks",
            f"it is {filled.chords[last].ticks}, so that the chords end at tick {tick}; "
            f"{_bars(filled.bars)} of {metre_name(metre)} end at {end}",
            str(wanted) if wanted > 0 else "leave chords out: they are filled",
        )


def whole(plan: Plan, frames: int, rate: int, first_frames: Sequence[int]) -> Iterator[FieldViolation]:
    """Find sums that are not true."""
    if plan.frames and plan.frames != frames:
        yield FieldViolation("plan.frames", f"it is {plan.frames}; sections and tail have {frames}", str(frames))
    if frames > MAX_SECONDS * rate:
        yield FieldViolation(
            "plan.sections", f"they have {frames / rate:.1f} s; a piece has at most {MAX_SECONDS} s", "fewer bars"
        )
    bars = 0
    for index, (item, first_frame) in enumerate(zip(plan.sections, first_frames, strict=True)):
        path = f"plan.sections[{index}]"
        if item.first_frame and item.first_frame != first_frame:
            yield FieldViolation(
                f"{path}.first_frame",
                f"it is {item.first_frame}; the sections before have {first_frame} frames",
                str(first_frame),
            )
        if item.first_bar and item.first_bar != bars:
            yield FieldViolation(
                f"{path}.first_bar", f"it is {item.first_bar}; the sections before have {_bars(bars)}", str(bars)
            )
        bars += item.spec.bars


def brief_against_plan(brief: Brief, plan: Plan) -> Iterator[FieldViolation]:
    """Find what is asked for beside a filled plan and is not in it: nothing that is accepted is ignored."""
    specs = [item.spec for item in plan.sections]
    kinds = {layer.kind for spec in specs for layer in spec.layers}
    names = {name for spec in specs for layer in spec.layers for name in layer.instruments}
    length_ns = plan.frames * timing.NANOSECONDS // plan.sample_rate
    frame_ns = timing.NANOSECONDS // plan.sample_rate
    fits: list[tuple[str, object, Callable[[], bool], str, str]] = [
        ("duration", brief.duration_ns, lambda: abs((brief.duration_ns or 0) - length_ns) <= frame_ns,
         f"{(brief.duration_ns or 0) / 1e9:g} s", f"{length_ns / 1e9:.6f}s"),
        ("quarters_per_minute", brief.quarters_per_minute,
         lambda: abs((brief.quarters_per_minute or 0) - plan.quarters_per_minute) <= SAME_TEMPO,
         bpm_name(brief.quarters_per_minute or 60, plan.metre), f"{plan.quarters_per_minute:.17g}"),
        ("metre", brief.metre, lambda: brief.metre == plan.metre,
         metre_name(brief.metre or plan.metre), metre_name(plan.metre)),
        ("key", brief.key, lambda: brief.key == plan.key, key_name(brief.key or plan.key), key_name(plan.key)),
        ("genre", brief.genre, lambda: brief.genre == plan.genre, brief.genre, plan.genre),
        ("kind", brief.kind, lambda: brief.kind == plan.kind, brief.kind.name, plan.kind.name),
        ("seed", brief.seed, lambda: brief.seed == plan.seed, str(brief.seed), str(plan.seed)),
        ("sample_rate", brief.sample_rate, lambda: brief.sample_rate == plan.sample_rate,
         str(brief.sample_rate), str(plan.sample_rate)),
        ("title", brief.title, lambda: brief.title == plan.title, repr(brief.title), plan.title),
        ("form", brief.form, lambda: brief.form == tuple(spec.role for spec in specs),
         _roles(brief.form), _roles([spec.role for spec in specs])),
        ("include_layers", brief.include_layers, lambda: set(brief.include_layers) <= kinds,
         _kinds(brief.include_layers), _kinds(sorted(kinds))),
        ("exclude_layers", brief.exclude_layers, lambda: not set(brief.exclude_layers) & kinds,
         _kinds(brief.exclude_layers), "leave it out"),
        ("instruments", brief.instruments, lambda: set(brief.instruments) <= names,
         ", ".join(brief.instruments), ", ".join(sorted(names))),
        ("negative_prompt", brief.negative_prompt,
         lambda: any(spec.negative_prompt == brief.negative_prompt for spec in specs),
         repr(brief.negative_prompt), specs[0].negative_prompt),
        ("sampling", brief.sampling, lambda: any(spec.sampling == brief.sampling for spec in specs),
         "other settings", "leave it out"),
        ("continuity", brief.continuity, lambda: any(spec.continuity == brief.continuity for spec in specs),
         brief.continuity.name, specs[-1].continuity.name),
        ("tail", brief.tail == TailPolicy.FORBID, lambda: not specs[-1].tail_frames, "FORBID", "ALLOW"),
    ]  # fmt: skip
    for field, is_set, agrees, said, planned in fits:
        asked = is_set not in (None, "", (), 0, False) or (field == "seed" and brief.seed is not None)
        if asked and not agrees():
            yield FieldViolation(f"brief.{field}", f"it says {said}, the plan does not; change one of them", planned)


def refuse_long_negative_prompt(text: str, num_sections: int) -> None:
    """Refuse a text that stands in every section when the plan would not fit into one message."""
    if len(text.encode()) * num_sections > MAX_NEGATIVE_BYTES:
        most = MAX_NEGATIVE_BYTES // num_sections
        raise errors.InvalidField(
            f"brief.negative_prompt: it stands in each of {num_sections} sections; at most {most} bytes fit",
            violations=[FieldViolation("brief.negative_prompt", f"at most {most} bytes", "shorten it")],
        )


def _bars(count: int) -> str:
    return "1 bar" if count == 1 else f"{count} bars"


def _roles(roles: Sequence[Role]) -> str:
    return " ".join(role.name.lower() for role in roles)


def _kinds(kinds: Sequence[LayerKind]) -> str:
    return ", ".join(kind.name.lower() for kind in kinds)
