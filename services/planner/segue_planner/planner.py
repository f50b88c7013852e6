"""Makes a plan from a brief. The same brief gives the same plan on every machine."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from typing import TYPE_CHECKING, Final

from segue.music.v1 import music_pb2
from segue_music import codec, timing
from segue_music.elements import LayerKind
from segue_music.plan import Brief, Kind, Origin, Plan
from segue_planner.facts.decision_log import DecisionLog
from segue_planner.facts.resolver import FactResolver
from segue_planner.form.lengths import TUNING, LengthFitter, TimedForm
from segue_planner.form.outline import outline_form
from segue_planner.form.request import FormRequest, ProposedSection
from segue_planner.form.roles import merge_proposal, needs_section
from segue_planner.form.stage import Stage
from segue_planner.genres.artists import Artists, without_names
from segue_planner.language_model.proposal import Proposal
from segue_planner.limits import MAX_SECTIONS
from segue_planner.lyrics.brief_lyrics import BriefLyrics
from segue_planner.names import bars_name, metre_name, role_name
from segue_planner.parts.motif import random_of
from segue_planner.parts.placement import place_sections, with_same_timbre
from segue_planner.parts.section_writer import SectionWriter
from segue_planner.promises import undone
from segue_planner.prompt.clauses import not_read, quoted
from segue_planner.prompt.exclusions import read_negative_prompt, with_artists, with_exclusions
from segue_planner.prompt.reader import read_prompt
from segue_planner.text import clean, clip
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.plan import ModelProfile, Role, SectionSpec
    from segue_planner.facts.piece_facts import PieceFacts
    from segue_planner.form.outline import SectionOutline
    from segue_planner.genres.genre import Genre
    from segue_planner.prompt.prompt_facts import PromptFacts

TITLE_END: Final = re.compile(r"[,.;:!?]\s")
MAX_TITLE_WORDS: Final = 8
MAX_MOODS: Final = 16
MINUTE_S: Final = 58
"""From this length on, a piece has at least three sections unless the prompt states its form."""
FIRST_SECTION_S: Final = 15.5
"""The longest first section with a model that gives no audio before a section's end: the listener waits for it."""


class Planner:
    """Makes the plan of one brief."""

    def __init__(
        self,
        brief: Brief,
        profiles: Sequence[ModelProfile] = (),
        prompt: PromptFacts | None = None,
        proposal: Proposal | str | None = None,
        artists: Artists = Artists.READ,
    ) -> None:
        """`prompt` are the facts of the brief's prompt, when they are read already.

        `proposal` is a language model's proposal, or the reason why there is none.
        """
        self._brief = brief
        self._profiles = profiles
        text = clean(brief.prompt)
        excluded = read_negative_prompt(brief.negative_prompt)
        self._prompt = with_exclusions(with_artists(prompt or read_prompt(text), artists), excluded)
        self._prompt_text = without_names(text, self._prompt.artists)
        self._log = DecisionLog()
        self._is_proposed = isinstance(proposal, Proposal)
        self._proposal = proposal if isinstance(proposal, Proposal) else Proposal()
        if isinstance(proposal, str):
            self._log.warn("language_model_unused", f"the language model was not used: {proposal}")
        for repair in self._proposal.repairs:
            self._log.warn("language_model_repaired", f"in the language model's proposal: {repair}")
        self._proposed: list[ProposedSection] = []
        self._lyrics = BriefLyrics(brief.lyrics, self._log) if brief.lyrics else None
        self._follows_marks = False
        """Whether the marks of the lyrics name the form."""
        self._seed = seed_of(brief)
        self._chance = random_of(self._seed)

    def plan(self) -> Plan:
        """Make the plan."""
        for remark in self._prompt.remarks:
            self._log.warn("prompt_contradiction", remark)
        if self._prompt.unread and not (self._profiles and self._profiles[0].uses_negative_prompt):
            self._log.warn("negative_prompt_not_read", not_read(self._prompt.unread))
        for typed, meant in self._prompt.spelling.items():
            self._log.record("spelling", meant, Origin.PROMPT, typed)
        is_read = self._is_proposed or bool(self._profiles and self._profiles[0].uses_prompt)
        if self._prompt.not_understood and not is_read:
            self._log.warn("prompt_not_read", f"not understood, without effect: {quoted(self._prompt.not_understood)}")
        self._log.record("seed", str(self._seed), Origin.DEFAULT if self._brief.seed is None else Origin.CALLER)
        self._check_voices()
        facts = self._resolve_facts()
        request = self._form_request(facts.genre)
        request = dataclasses.replace(
            request,
            most_bars=self._most_bars(facts),
            first_bars=self._first_bars(facts, request),
            least_sections=3 if facts.frames and facts.frames >= MINUTE_S * facts.sample_rate else 0,
        )
        timed = self._fit_length(facts, request)
        stage = Stage(timed, self._prompt.directions, facts.sample_rate)
        if stage.cuts() and not self._brief.form:
            request = dataclasses.replace(request, cuts=stage.cuts())
            timed = self._fit_length(facts, request)
            stage = Stage(timed, self._prompt.directions, facts.sample_rate)
        self._record_form(timed, request)
        self._record_directions(stage)
        writer = SectionWriter(
            self._brief, self._prompt, self._profiles[0] if self._profiles else None, self._log,
            chance=self._chance, facts=facts, timed=timed, proposed=self._proposed, lyrics=self._lyrics,
            stage=stage,
        )  # fmt: skip
        specs = writer.write()
        for undone_words in undone(self._prompt, specs, stage):
            self._log.warn("prompt_not_done", undone_words)
        plan = self._assembled(facts, timed, specs)
        return dataclasses.replace(plan, digest=codec.plan_digest(plan))

    def _check_voices(self) -> None:
        """Refuse lyrics without voices; the field wins over words of the prompt."""
        if self._lyrics is None:
            return
        if LayerKind.VOCALS in self._brief.exclude_layers:
            raise errors.InvalidField(
                "brief.exclude_layers: there are lyrics, which voices sing",
                violations=[FieldViolation("brief.exclude_layers", "it excludes the voices that sing the lyrics")],
            )
        denial = self._prompt.without_layers.get(LayerKind.VOCALS)
        if denial:
            self._log.warn_contradiction("lyrics", "that there are words to sing", f"no {denial}")

    def _resolve_facts(self) -> PieceFacts:
        resolver = FactResolver(
            self._brief, self._prompt, self._log, self._chance,
            suggested_genre=self._proposal.genre, suggested_moods=self._proposal.moods,
        )  # fmt: skip
        return resolver.resolve()

    def _fit_length(self, facts: PieceFacts, request: FormRequest) -> TimedForm:
        fitter = LengthFitter(
            facts=facts,
            tail=self._brief.tail,
            course=self._prompt.course,
            log=self._log,
            outline=lambda bars: outline_form(bars, facts.genre, request),
            num_requested=len(self._brief.form),
            change=self._prompt.changes.tempo if self._prompt.changes else None,
            metres=[change.metre for change in request.metres],
        )
        return fitter.fit()

    def _assembled(self, facts: PieceFacts, timed: TimedForm, specs: Sequence[SectionSpec]) -> Plan:
        """Return the plan, still without its digest."""
        if self._brief.same_timbre:
            specs = with_same_timbre(specs, self._profiles)
        return Plan(
            version=1,
            title=clip(self._title(), 256),
            kind=facts.kind,
            sample_rate=facts.sample_rate,
            frames=timed.total_frames,
            quarters_per_minute=timed.quarters_per_minute,
            metre=timed.metre if any(spec.metre == timed.metre for spec in specs) else specs[0].metre or timed.metre,
            key=facts.key,
            genre=facts.genre.name,
            moods=self._moods(facts.genre),
            motif=specs[0].motif,
            sections=place_sections(specs, self._profiles),
            seed=self._seed,
            readings=self._log.readings,
            warnings=self._log.warnings,
        )

    def _moods(self, genre: Genre) -> tuple[str, ...]:
        stated = tuple(self._prompt.moods)[:MAX_MOODS]
        suggested, usual = (
            tuple(name for name in names if name not in self._prompt.without_moods)
            for names in (self._proposal.moods, genre.moods)
        )
        return stated or suggested or usual

    def _most_bars(self, facts: PieceFacts) -> int:
        """Return the bars of the longest section for the model, 0 for no limit. A form in a field is not divided."""
        longest_ns = self._profiles[0].max_duration_ns if self._profiles else None
        if not longest_ns or self._brief.form:
            return 0
        # The last section's ring-out is shorter than a bar.
        return max(1, int(longest_ns / timing.NANOSECONDS / _bar_s(facts, facts.tempo.slowest * (1 - TUNING))) - 1)

    def _first_bars(self, facts: PieceFacts, request: FormRequest) -> int:
        """Return the bars of the longest first section with a model whose audio comes at a section's end, 0: any."""
        profile = self._profiles[0] if self._profiles else None
        if not profile or not profile.audio_at_end or request.loop or request.long_start:
            return 0
        longest_s = max(FIRST_SECTION_S, (profile.min_window_ns or 0) / timing.NANOSECONDS)
        return max(1, int(longest_s / _bar_s(facts, facts.tempo.preferred)))

    # The form.

    def _form_request(self, genre: Genre) -> FormRequest:
        """Return the requested form: the brief's field, else the prompt's, the lyrics', a language model's."""
        prompt, requested = self._prompt, self._brief.form
        if requested:
            if prompt.form and prompt.form.value != requested:
                self._log.warn_contradiction("form", _form_name(requested), prompt.form.words)
            for role in [role for role in prompt.without_roles if role in requested]:
                self._log.warn_contradiction("form", _form_name(requested), f"no {prompt.without_roles[role]}")
            return FormRequest(roles=requested)
        request = FormRequest(
            roles=prompt.form.value if prompt.form else (),
            role_bars={role: stated.value for role, stated in prompt.role_bars.items()},
            form_bars=prompt.form_bars,
            counts={role: stated.value for role, stated in prompt.counts.items()},
            has=(
                *prompt.has,
                *(role for role in prompt.placed if needs_section(role, genre) and role not in prompt.has),
            ),
            without=frozenset(prompt.without_roles),
            long_start="long_start" in prompt.course,
            long_end="long_end" in prompt.course,
            first=prompt.first_role.value if prompt.first_role else None,
            last=prompt.last_role.value if prompt.last_role else None,
            metres=() if self._brief.metre or not prompt.changes else tuple(prompt.changes.metres),
            loop=(self._brief.kind or (Kind.LOOP if "loop" in prompt.course else Kind.PIECE)) == Kind.LOOP,
        )
        if not (prompt.form or request.loop) and self._lyrics and self._lyrics.form:
            return self._marked_form(request, self._lyrics.form)
        if prompt.form or not self._proposal.sections or request.loop:
            return request
        self._proposed = merge_proposal(self._proposal.sections, request)
        return dataclasses.replace(
            request,
            roles=tuple(each.role for each in self._proposed),
            proposed_bars=tuple(each.bars for each in self._proposed),
        )

    def _marked_form(self, request: FormRequest, sections: Sequence[ProposedSection]) -> FormRequest:
        """Return the form that the marks of the lyrics name, with the sections that the prompt requires."""
        self._follows_marks = True
        roles = {each.role for each in sections}
        for role in [role for role in self._prompt.without_roles if role in roles]:
            denial = self._prompt.without_roles[role]
            self._log.warn_contradiction("lyrics", f"[{role_name(role)}] in the lyrics", f"no {denial}")
        found = merge_proposal(sections, dataclasses.replace(request, without=frozenset()))[:MAX_SECTIONS]
        return dataclasses.replace(
            request,
            roles=tuple(each.role for each in found),
            proposed_bars=tuple(each.bars for each in found),
            keeps_roles=True,
        )

    def _record_form(self, timed: TimedForm, request: FormRequest) -> None:
        """Record the form with its origin, and warn about sections that the length has no room for."""
        prompt = self._prompt
        name = " ".join(section.section_id for section in timed.sections)
        if self._brief.form:
            self._log.record("form", name, Origin.CALLER)
            return
        if prompt.form or self._follows_marks:
            origin, words = (Origin.PROMPT, prompt.form.words) if prompt.form else (Origin.CALLER, "")
            self._log.record("form", name, origin, words)
            if len(timed.sections) < len(request.roles):
                self._log.warn(
                    "form_cut", f"only {len(timed.sections)} of {len(request.roles)} sections fit into the length"
                )
        else:
            self._record_chosen_form(name, timed.sections)
        self._record_section_requests(timed)
        for course, words in prompt.course.items():
            if course != "loop":
                self._log.record("course", course.replace("_", " "), Origin.PROMPT, words)
        for course, words in prompt.without_course.items():
            self._log.record("course", f"no {course.replace('_', ' ')}", Origin.NEGATIVE_PROMPT, words)

    def _record_chosen_form(self, name: str, sections: Sequence[SectionOutline]) -> None:
        """Record the form of a language model or of the genre, with the sections that the prompt requires."""
        prompt, roles = self._prompt, [section.role for section in sections]
        divided = self._proposed_for(sections)
        if divided and roles == [each.role for each in divided]:
            self._log.record("form", name, Origin.LANGUAGE_MODEL)
            self._proposed = divided
        else:
            if self._proposed:
                self._log.warn(
                    "language_model_repaired",
                    "the language model's form does not fit the length; the genre's form is used",
                )
                self._proposed = []
            is_named = bool(prompt.genre or self._brief.genre)
            self._log.record("form", name, Origin.GENRE if is_named else Origin.DEFAULT)
        for role, words in prompt.has.items():
            if role in roles:
                self._log.record("section", role_name(role), Origin.PROMPT, words)
            else:
                self._log.warn("section_left_out", f"the piece is too short for the {role_name(role)}")

    def _proposed_for(self, sections: Sequence[SectionOutline]) -> list[ProposedSection]:
        """Return the proposal of each section: one that was divided for the model counts for all its parts.

        Nothing, if the sections are of another form.
        """
        if {section.place for section in sections} != set(range(len(self._proposed))):
            return []
        return [self._proposed[section.place] for section in sections]

    def _record_section_requests(self, timed: TimedForm) -> None:
        prompt = self._prompt
        for role, words in prompt.without_roles.items():
            self._log.record("section", f"no {role_name(role)}", prompt.origin(words), words)
        for role, bars in prompt.role_bars.items():
            planned = [section.bars for section in timed.sections if section.role == role]
            self._log.record("bars", f"{bars.value} bars of {role_name(role)}", Origin.PROMPT, bars.words)
            if any(each != bars.value for each in planned):
                self._log.warn(
                    "bars_changed", f"{bars.words!r} does not fit the length; it has {bars_name(planned[0])}"
                )

    def _record_directions(self, stage: Stage) -> None:
        """Record what happens at places, and warn about places that the piece lacks."""
        changes = self._prompt.changes
        for section in stage.sections:
            if section.metre and section.metre != stage.metre and changes:
                words = next(change.words for change in changes.metres if change.metre == section.metre)
                self._log.record(
                    "metre change", f"{section.label} in {metre_name(section.metre)}", Origin.PROMPT, words
                )
        if changes and changes.metre_words:
            self._log.warn(
                "metre_change_not_planned",
                f"{changes.metre_words!r}: a section has one metre; it is {metre_name(stage.metre)} throughout",
            )
        if changes and changes.tempo:
            self._log.record("tempo change", f"to {changes.tempo.factor:.3g} times", Origin.PROMPT, changes.tempo.words)
        for direction in stage.found:
            self._log.record("place", direction.place.words, Origin.PROMPT, direction.words)
        for direction in stage.missing:
            self._log.warn("place_missing", f"{direction.words!r}: the piece has no such place; it has no effect")

    def _title(self) -> str:
        requested = clean(self._brief.title)
        if requested:
            return requested
        if self._proposal.title:
            self._log.record("title", self._proposal.title, Origin.LANGUAGE_MODEL)
            return self._proposal.title
        clause = next((part for part in TITLE_END.split(self._prompt_text) if part.strip()), self._prompt_text)
        return " ".join(clause.split()[:MAX_TITLE_WORDS])


def _bar_s(facts: PieceFacts, quarters_per_minute: float) -> float:
    return timing.ticks_per_bar(facts.metre) / timing.TICKS_PER_QUARTER * 60 / quarters_per_minute


def _form_name(roles: Sequence[Role]) -> str:
    return clip(" ".join(role_name(role) for role in roles), 200)


def seed_of(brief: Brief) -> int:
    """Return the brief's seed, or one that is derived from all its other fields."""
    if brief.seed is not None:
        return brief.seed
    content = codec.canonical_json(codec.to_message(brief, music_pb2.Brief()))
    return int.from_bytes(hashlib.sha256(b"segue/seed/" + content).digest()[:4], "big")
