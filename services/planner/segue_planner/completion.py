"""Completes a caller's plan: given values stay, missing values are filled, contradictions are refused."""

from __future__ import annotations

import dataclasses
from itertools import islice
from typing import TYPE_CHECKING

from segue_music import codec
from segue_music.plan import Brief, Continuity, Kind, Plan, PlannedSection, SectionSpec
from segue_planner.checks.brief_checks import check_brief_against_plan, refuse_long_negative_prompt
from segue_planner.checks.model_checks import check_lengths, check_models
from segue_planner.checks.plan_checks import check_before_filling, check_totals
from segue_planner.checks.section_checks import check_section
from segue_planner.facts.decision_log import MAX_ENTRIES, DecisionLog
from segue_planner.facts.plan_readings import readings_of
from segue_planner.genres.genre import first_genre, genres
from segue_planner.genres.votes import count_votes
from segue_planner.limits import DEFAULT_RATE, MAX_STYLE_BYTES
from segue_planner.lyrics.brief_lyrics import BriefLyrics, check_brief_lyrics
from segue_planner.lyrics.section_lyrics import check_lyrics, warn_if_crowded, with_lyrics, with_voices
from segue_planner.parts.motif import make_motif, random_of
from segue_planner.parts.placement import (
    choose_continuity,
    place_sections,
    waits_of,
    with_neighbours,
    with_same_timbre,
)
from segue_planner.parts.section_filler import SectionFiller
from segue_planner.parts.section_prompts import with_prompts
from segue_planner.plan_prompts import PlanPrompts
from segue_planner.profiles import profile_of
from segue_planner.prompt.exclusions import read_negative_prompt
from segue_planner.prompt.reader import read_prompt
from segue_planner.text import clean, clip
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from segue_music.plan import ModelProfile, Warning  # noqa: A004  the contract's word


def complete_plan(
    plan: Plan, profiles: Sequence[ModelProfile] = (), brief: Brief | None = None, rewritten: Collection[str] = ()
) -> Plan:
    """Fill a plan and check it; InvalidPlan lists every violation.

    A plan with its digest is complete. Its sections keep the neighbours that they name, so that an edit of one section
    leaves the takes of the others valid.

    The prompt of the brief beside the plan gives the style, and title and genre where the plan has none. All other
    fields of the brief must agree with the plan. The sections in `rewritten` have a new prompt: for models that read
    none, it changes what they state.
    """
    _refuse(check_before_filling(plan))
    _refuse(check_models(plan, profiles))
    return PlanCompletion(plan, profiles, brief or Brief(), rewritten).complete()


class PlanCompletion:
    """Completes one plan."""

    def __init__(
        self, plan: Plan, profiles: Sequence[ModelProfile], brief: Brief, rewritten: Collection[str] = ()
    ) -> None:
        self._plan, self._profiles, self._brief = plan, profiles, brief
        self._prompt = clean(brief.prompt)
        self._genre = genres()[plan.genre or self._genre_of_brief()]
        self._rate = plan.sample_rate or brief.sample_rate or DEFAULT_RATE
        self._seed = plan.seed or brief.seed or 0
        self._motif = plan.motif or make_motif(plan.metre, random_of(self._seed))
        self._log = DecisionLog()
        self._prompts = PlanPrompts(plan, profiles, brief, self._genre, rewritten)

    def complete(self) -> Plan:
        """Return the filled plan, with its digest and readings."""
        specs = self._with_lyrics(self._filled_specs())
        _refuse(check_lengths(specs, self._profiles))
        frames = sum(spec.frames for spec in specs) + specs[-1].tail_frames
        sections = self._placed(specs)
        _refuse(check_totals(self._plan, frames, self._rate, [section.first_frame for section in sections]))
        complete = self._assembled(sections, frames)
        digest = codec.plan_digest(complete)
        if self._plan.digest and self._plan.digest != digest:
            problem = "it is not the digest of this plan; leave it empty after an edit"
            _refuse([FieldViolation("plan.digest", problem, "leave it out")])
        _refuse(check_brief_against_plan(self._brief, complete, reads_negative=self._prompts.keeps_negative))
        self._prompts.check(specs)
        readings = self._prompts.readings(readings_of(complete, genre_is_given=bool(self._plan.genre)))
        return dataclasses.replace(
            complete,
            digest=digest,
            readings=tuple(islice(readings, MAX_ENTRIES)),
            warnings=tuple(islice(self._warnings(), MAX_ENTRIES)),
        )

    def _warnings(self) -> Iterator[Warning]:
        """Yield each warning once. What a plan said about its words may have been about other words."""
        before = (each for each in self._prompts.warnings() if each.code != "lyrics_crowded")
        yield from dict.fromkeys((*before, *self._log.warnings))

    def _genre_of_brief(self) -> str:
        if self._brief.genre in genres():
            return self._brief.genre
        without = read_negative_prompt(self._brief.negative_prompt).without_genres
        stated = read_prompt(self._prompt).genre
        if stated and stated.value not in without:
            return stated.value
        voted = count_votes(read_prompt(self._prompt).votes, without)
        return voted.genre if voted else first_genre(without).name

    def _filled_specs(self) -> list[SectionSpec]:
        plan = self._plan
        if self._prompts.keeps_negative:
            refuse_long_negative_prompt(self._brief.negative_prompt, len(plan.sections))
        filler = SectionFiller(plan, self._genre, self._rate, self._motif, self._prompts.players)
        roles = [item.spec.role for item in plan.sections]
        specs = [
            self._with_brief(self._prompts.apply(item.spec, filler.fill(item.spec, following)))
            for item, following in zip(plan.sections, [*roles[1:], None], strict=True)
        ]
        _refuse(
            violation
            for index, (filled, item) in enumerate(zip(specs, plan.sections, strict=True))
            for violation in check_section(
                f"plan.sections[{index}].spec", filled, item.spec, last=index + 1 == len(specs)
            )
        )
        return specs

    def _with_lyrics(self, specs: list[SectionSpec]) -> list[SectionSpec]:
        """Time the words that have no lines, and give the words of the brief to a plan without any."""
        lyrics = self._brief.lyrics
        if lyrics is not None:
            _refuse(check_brief_lyrics(lyrics, self._plan))
        if lyrics is not None and not any(spec.lyrics for spec in specs):
            return BriefLyrics(lyrics, self._log).write(specs, range(len(specs)), self._profiles)
        found: list[SectionSpec] = []
        for index, spec in enumerate(specs):
            _refuse(check_lyrics(f"plan.sections[{index}].spec.lyrics", spec))
            profile = profile_of(spec, self._profiles)
            if spec.lyrics and not spec.lyrics.lines:
                found.append(with_lyrics(spec, spec.lyrics, profile))
            elif spec.lyrics and not self._plan.digest:
                found.append(with_voices(spec, profile))
            else:
                found.append(spec)
            warn_if_crowded(found[-1], self._log)
        return found

    def _with_brief(self, spec: SectionSpec) -> SectionSpec:
        """Fill in the brief's values that hold for every section."""
        return dataclasses.replace(
            spec,
            continuity=spec.continuity or self._continuity(profile_of(spec, self._profiles)),
            negative_prompt=spec.negative_prompt
            or (self._brief.negative_prompt if self._prompts.reads_negative(spec) else ""),
            sampling=spec.sampling or self._brief.sampling,
        )

    def _continuity(self, profile: ModelProfile | None) -> Continuity:
        """Return the brief's continuity where the section's model supports it, else what the model prefers."""
        wanted = self._brief.continuity
        if profile and wanted not in profile.continuities:
            wanted = Continuity.UNSPECIFIED
        return choose_continuity(wanted, profile)

    def _placed(self, specs: list[SectionSpec]) -> tuple[PlannedSection, ...]:
        """Place the sections; given joins, waits and seeds stay."""
        style = clip(self._prompt or clean(self._plan.title), MAX_STYLE_BYTES) or f"{self._genre.name} music"
        if not self._plan.digest:
            specs = with_neighbours(specs)
        if self._brief.same_timbre:
            specs = with_same_timbre(specs, self._profiles)
        placed_sections = place_sections(with_prompts(specs, style), self._profiles)
        return tuple(
            dataclasses.replace(
                placed,
                waits_for=waits_of(placed.spec, item.waits_for or placed.waits_for),
                join=item.join if item.join and index else placed.join,
                seed=item.seed,
            )
            for index, (placed, item) in enumerate(zip(placed_sections, self._plan.sections, strict=True))
        )

    def _assembled(self, sections: tuple[PlannedSection, ...], frames: int) -> Plan:
        """Return the complete plan, still without its digest."""
        plan = self._plan
        return dataclasses.replace(
            plan,
            version=plan.version or 1,
            digest="",
            title=plan.title or clip(clean(self._brief.title), 256),
            kind=plan.kind or self._brief.kind or Kind.PIECE,
            sample_rate=self._rate,
            frames=frames,
            genre=self._genre.name,
            moods=plan.moods or self._genre.moods,
            motif=self._motif,
            sections=sections,
            seed=self._seed,
        )


def _refuse(violations: Iterable[FieldViolation]) -> None:
    """Raise InvalidPlan if there are violations."""
    found = list(violations)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise errors.InvalidPlan(f"{found[0].field}: {found[0].description}{more}", violations=found)
