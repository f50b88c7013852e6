"""A caller's own plan: what it says stays, what it leaves out is filled, what contradicts itself is refused."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from segue_music import codec, timing
from segue_music.elements import Groove, TempoPoint
from segue_music.plan import Brief, Kind, Origin, Plan, Reading, SectionSpec
from segue_music.theory import key_name
from segue_planner.checks import plan_checks
from segue_planner.facts.decision_log import MAX_ENTRIES
from segue_planner.facts.resolver import bpm_name, metre_name
from segue_planner.genres.genre import default_genre, genres
from segue_planner.limits import DEFAULT_RATE, MAX_STYLE_BYTES
from segue_planner.parts import harmony
from segue_planner.parts.arrangement import Arranger
from segue_planner.parts.energy import ENERGY
from segue_planner.parts.ensemble import Ensemble
from segue_planner.parts.placement import choose_continuity, place, target_lufs, with_neighbours, with_prompts
from segue_planner.prompt.reader import read_prompt
from segue_planner.text import clean, clip
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue_music.plan import ModelProfile, Role


def complete(plan: Plan, profiles: Sequence[ModelProfile] = (), brief: Brief | None = None) -> Plan:
    """Fill a plan and check it; InvalidPlan lists every place that is wrong.

    A plan with its digest is whole: its sections keep the neighbours that they name, so that an edit of one leaves the
    takes of the others as they are.
    Of the brief beside it the prompt gives style, title and genre where the plan has none; what else the brief asks
    for must be in the plan.
    """
    brief = brief or Brief()
    prompt = clean(brief.prompt)
    _raise(list(plan_checks.before_filling(plan)))
    genre = genres()[plan.genre or _genre_of(brief, prompt)]
    rate = plan.sample_rate or brief.sample_rate or DEFAULT_RATE
    seed = plan.seed or brief.seed or 0
    motif = plan.motif or harmony.make_motif(plan.metre, harmony.chance_of(seed))
    profile = profiles[0] if profiles else None
    plan_checks.refuse_long_negative_prompt(brief.negative_prompt, len(plan.sections))
    bare = dataclasses.replace(plan, motif=motif, sample_rate=rate, genre=genre.name)
    roles = [item.spec.role for item in plan.sections]
    arranger = Arranger(Ensemble(genre.layers), genre)
    specs = [
        _with_wishes(
            _fill(bare, item.spec, roles[index + 1] if index + 1 < len(roles) else None, arranger), brief, profile
        )
        for index, item in enumerate(plan.sections)
    ]
    _raise(
        [
            violation
            for index, (filled, item) in enumerate(zip(specs, plan.sections, strict=True))
            for violation in plan_checks.section(
                f"plan.sections[{index}].spec", filled, item.spec, last=index + 1 == len(specs)
            )
        ]
    )
    frames = sum(spec.frames for spec in specs) + specs[-1].tail_frames
    style = clip(prompt or clean(plan.title), MAX_STYLE_BYTES) or f"{genre.name} music"
    if not plan.digest:
        specs = with_neighbours(specs)
    placed_specs = place(with_prompts(specs, style), profile)
    sections = [
        dataclasses.replace(
            placed,
            waits_for=item.waits_for or placed.waits_for,
            join=item.join if item.join and index else placed.join,
            seed=item.seed,
        )
        for index, (placed, item) in enumerate(zip(placed_specs, plan.sections, strict=True))
    ]
    _raise(list(plan_checks.whole(plan, frames, rate, [section.first_frame for section in sections])))
    whole = dataclasses.replace(
        plan,
        version=plan.version or 1,
        digest="",
        title=plan.title or clip(clean(brief.title), 256),
        kind=plan.kind or brief.kind or Kind.PIECE,
        sample_rate=rate,
        frames=frames,
        genre=genre.name,
        moods=plan.moods or genre.moods,
        motif=motif,
        sections=tuple(sections),
        seed=seed,
    )
    digest = codec.plan_digest(whole)
    if plan.digest and plan.digest != digest:
        _raise(
            [FieldViolation("plan.digest", "it is not that of this plan: leave it empty after an edit", "leave it out")]
        )
    _raise(list(plan_checks.brief_against_plan(brief, whole)))
    return dataclasses.replace(whole, digest=digest, readings=given_readings(whole, told=bool(plan.genre)))


def _genre_of(brief: Brief, prompt: str) -> str:
    if brief.genre in genres():
        return brief.genre
    said = read_prompt(prompt).genre
    return said.value if said else default_genre().name


def _with_wishes(spec: SectionSpec, brief: Brief, profile: ModelProfile | None) -> SectionSpec:
    """Fill what the brief says for every section."""
    return dataclasses.replace(
        spec,
        continuity=choose_continuity(spec.continuity or brief.continuity, profile),
        negative_prompt=spec.negative_prompt or brief.negative_prompt,
        sampling=spec.sampling or brief.sampling,
    )


def given_readings(plan: Plan, *, told: bool) -> tuple[Reading, ...]:
    """Return where the values come from: what a reading still says truly stays, the rest is the caller's."""
    seconds = plan.frames / plan.sample_rate
    bars = sum(item.spec.bars for item in plan.sections)
    form = clip(" ".join(item.spec.section_id for item in plan.sections), 256)
    now = {
        "seed": str(plan.seed),
        "genre": plan.genre,
        "metre": metre_name(plan.metre),
        "tempo": bpm_name(plan.quarters_per_minute, plan.metre),
        "duration": f"{seconds:g} s",
        "key": key_name(plan.key),
        "form": form,
    }
    kept = [each for each in plan.readings if each.field not in now or _is_true(each, now, seconds, bars)]
    known = {each.field for each in kept}
    filled = {"seed", "duration"} if told else {"seed", "duration", "genre"}
    added = [
        Reading(field, value, Origin.DEFAULT if field in filled else Origin.CALLER)
        for field, value in now.items()
        if field not in known
    ]
    return (*added, *kept)[:MAX_ENTRIES]


def _is_true(reading: Reading, now: Mapping[str, str], seconds: float, bars: int) -> bool:
    if reading.field == "duration":
        number, _, unit = reading.value.partition(" ")
        try:
            said = float(number)
        except ValueError:
            return False
        return said == bars if unit == "bars" else abs(said - seconds) <= 0.01 + 1e-5 * seconds
    # A tempo that was tuned says so behind its number.
    return reading.value.partition(", tuned")[0] == now[reading.field]


def _fill(plan: Plan, spec: SectionSpec, following: Role | None, arranger: Arranger) -> SectionSpec:
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
        layers=spec.layers or arranger.section(spec.role, energy, first=False, fullest=False),
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


def _raise(violations: list[FieldViolation]) -> None:
    if violations:
        first = violations[0]
        raise errors.InvalidPlan(
            f"{first.field}: {first.description}"
            + (f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""),
            violations=violations,
        )
