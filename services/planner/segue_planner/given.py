"""A caller's own plan: what it says stays, what it leaves out is filled, what contradicts itself is refused."""

from __future__ import annotations

import dataclasses
import itertools
import random
from typing import TYPE_CHECKING

from segue_music import codec, timing
from segue_music.plan import Groove, Kind, Plan, SectionSpec, TempoPoint
from segue_planner import harmony
from segue_planner.band import Ensemble, arrange
from segue_planner.energy import ENERGY
from segue_planner.genres import default_genre, genres
from segue_planner.sections import choose_continuity, place, target_lufs, with_neighbours, with_prompts
from segue_planner.text import clean, clip
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_music.plan import ModelProfile, Role

DEFAULT_RATE = 48_000
MAX_SECONDS = 1800
MAX_STYLE_BYTES = 400


def complete(plan: Plan, profiles: Sequence[ModelProfile] = ()) -> Plan:
    """Fill a plan and check it; InvalidPlan lists every place that is wrong."""
    genre = genres().get(plan.genre, default_genre())
    rate = plan.sample_rate or DEFAULT_RATE
    violations = [*_duplicates(plan), *_unusable(plan)]
    if plan.genre and plan.genre not in genres():
        violations.append(FieldViolation("plan.genre", f"unknown; there are: {', '.join(genres())}", genre.name))
    _raise(violations)
    motif = plan.motif or harmony.make_motif(plan.metre, _chance(plan.seed))
    profile = profiles[0] if profiles else None
    bare = dataclasses.replace(plan, motif=motif, sample_rate=rate, genre=genre.name)
    roles = [item.spec.role for item in plan.sections]
    specs = [
        dataclasses.replace(
            _fill(bare, item.spec, roles[index + 1] if index + 1 < len(roles) else None),
            continuity=choose_continuity(item.spec.continuity, profile),
        )
        for index, item in enumerate(plan.sections)
    ]
    violations = [
        violation
        for index, (filled, item) in enumerate(zip(specs, plan.sections, strict=True))
        for violation in _section_violations(
            f"plan.sections[{index}].spec", filled, item.spec, last=index + 1 == len(specs)
        )
    ]
    _raise(violations)
    frames = sum(spec.frames for spec in specs) + specs[-1].tail_frames
    _raise(list(_plan_violations(plan, frames, rate)))
    style = clip(clean(plan.title), MAX_STYLE_BYTES) or f"{genre.name} music"
    placed_specs = place(with_prompts(with_neighbours(specs), style), profile)
    sections = [
        dataclasses.replace(
            placed, waits_for=item.waits_for or placed.waits_for, join=item.join if item.join and index else placed.join
        )
        for index, (placed, item) in enumerate(zip(placed_specs, plan.sections, strict=True))
    ]
    _raise(list(_order_violations(plan, [section.first_frame for section in sections])))
    whole = dataclasses.replace(
        plan,
        version=plan.version or 1,
        digest="",
        kind=plan.kind or Kind.PIECE,
        sample_rate=rate,
        frames=frames,
        genre=genre.name,
        moods=plan.moods or genre.moods,
        motif=motif,
        sections=tuple(sections),
    )
    digest = codec.plan_digest(whole)
    if plan.digest and plan.digest != digest:
        _raise([FieldViolation("plan.digest", "it is not that of this plan; leave it empty after an edit", "")])
    return dataclasses.replace(whole, digest=digest)


def _chance(seed: int) -> random.Random:
    return random.Random(f"segue/plan/{seed}")  # noqa: S311  music, not secrets


def _fill(plan: Plan, spec: SectionSpec, following: Role | None) -> SectionSpec:
    genre = genres()[plan.genre]
    metre = spec.metre or plan.metre
    key = spec.key or plan.key
    points = spec.tempo_points or (TempoPoint(0, plan.quarters_per_minute),)
    start, end = ENERGY[spec.role]
    step = (end - start) / max(1, spec.bars - 1)
    energy = spec.energy or tuple(round(start + step * bar, 4) for bar in range(spec.bars))
    cadence = spec.cadence or (
        spec.cadence
        if spec.chords
        else harmony.cadence_for(spec.role, following, closes=genre.closes, loops=plan.kind == Kind.LOOP)
    )
    return dataclasses.replace(
        spec,
        label=spec.label or spec.role.name.capitalize().replace("_", "-"),
        frames=spec.frames or timing.section_frames(spec.bars, metre, points, plan.sample_rate),
        sample_rate=plan.sample_rate,
        metre=metre,
        tempo_points=points,
        key=key,
        genre=spec.genre or plan.genre,
        energy=energy,
        layers=spec.layers or arrange(spec.role, energy, Ensemble(genre.layers)),
        chords=spec.chords
        or harmony.fill_chords(
            harmony.choose_progression(genre.progressions(key.mode), spec.role),
            key,
            metre,
            spec.bars,
            cadence,
            genre.chord_bars,
        ),
        cadence=cadence,
        motif=spec.motif or plan.motif,
        groove=spec.groove or Groove(genre.groove, genre.swing, genre.feel),
        target_lufs=spec.target_lufs if spec.target_lufs is not None else target_lufs(energy),
    )


def _section_violations(path: str, filled: SectionSpec, given: SectionSpec, *, last: bool) -> Iterator[FieldViolation]:
    if filled.metre is None:
        return
    ticks = filled.bars * timing.ticks_per_bar(filled.metre)
    frames = timing.section_frames(filled.bars, filled.metre, filled.tempo_points, filled.sample_rate)
    if abs(filled.frames - frames) > 1:
        yield FieldViolation(f"{path}.frames", f"{filled.bars} bars at this tempo have {frames}", str(frames))
    if len(filled.energy) != filled.bars:
        yield FieldViolation(f"{path}.energy", f"one value a bar: {filled.bars} are needed", "")
    if given.sample_rate and given.sample_rate != filled.sample_rate:
        yield FieldViolation(f"{path}.sample_rate", "it is the plan's", str(filled.sample_rate))
    if filled.tail_frames and not last:
        yield FieldViolation(f"{path}.tail_frames", "only the last section rings out", "0")
    kinds = [layer.kind for layer in filled.layers]
    if len(set(kinds)) != len(kinds):
        yield FieldViolation(f"{path}.layers", "each kind at most once", "")
    yield from _chord_violations(path, filled, ticks)


def _chord_violations(path: str, filled: SectionSpec, ticks: int) -> Iterator[FieldViolation]:
    place_tick = 0
    for index, chord in enumerate(filled.chords):
        if chord.start_tick != place_tick:
            yield FieldViolation(
                f"{path}.chords[{index}].start_tick", "chords fill the section without gap or overlap", str(place_tick)
            )
            return
        place_tick += chord.ticks
    if place_tick != ticks:
        yield FieldViolation(f"{path}.chords", f"they end at tick {place_tick}, the section at {ticks}", "")


def _unusable(plan: Plan) -> Iterator[FieldViolation]:
    """Find what would make it impossible to fill a section."""
    for index, item in enumerate(plan.sections):
        path, spec = f"plan.sections[{index}].spec", item.spec
        if spec.genre and spec.genre not in genres():
            yield FieldViolation(f"{path}.genre", f"unknown; there are: {', '.join(genres())}", default_genre().name)
        if spec.tempo_points and (
            spec.tempo_points[0].start_tick != 0
            or any(later.start_tick <= earlier.start_tick for earlier, later in itertools.pairwise(spec.tempo_points))
        ):
            yield FieldViolation(f"{path}.tempo_points", "the first is at tick 0 and they ascend", "")
        end = spec.bars * timing.ticks_per_bar(spec.metre or plan.metre)
        if spec.tempo_points and spec.tempo_points[-1].start_tick >= end:
            yield FieldViolation(f"{path}.tempo_points", f"the last is at or after the section's end, tick {end}", "")


def _duplicates(plan: Plan) -> Iterator[FieldViolation]:
    seen: set[str] = set()
    for index, item in enumerate(plan.sections):
        if item.spec.section_id in seen:
            yield FieldViolation(
                f"plan.sections[{index}].spec.section_id", "it stands twice", f"{item.spec.section_id}-{index + 1}"
            )
        for other in item.waits_for:
            if other not in seen:
                yield FieldViolation(
                    f"plan.sections[{index}].waits_for", f"{other!r} is no earlier section of the plan", ""
                )
        seen.add(item.spec.section_id)


def _plan_violations(plan: Plan, frames: int, rate: int) -> Iterator[FieldViolation]:
    if plan.frames and plan.frames != frames:
        yield FieldViolation("plan.frames", f"the sections and the tail have {frames}", str(frames))
    if frames > MAX_SECONDS * rate:
        yield FieldViolation("plan.sections", f"the piece has {frames / rate:.1f} s; {MAX_SECONDS} s is the most", "")


def _order_violations(plan: Plan, first_frames: list[int]) -> Iterator[FieldViolation]:
    for index, (item, first_frame) in enumerate(zip(plan.sections, first_frames, strict=True)):
        if item.first_frame and item.first_frame != first_frame:
            yield FieldViolation(
                f"plan.sections[{index}].first_frame", "it is the sum of the frames before it", str(first_frame)
            )


def _raise(violations: list[FieldViolation]) -> None:
    if violations:
        first = violations[0]
        raise errors.InvalidPlan(
            f"{first.field}: {first.description}"
            + (f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""),
            violations=violations,
        )
