"""The prompts in and beside a caller's plan: what the planner reads in them, and warnings about the rest."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from segue_music.elements import Layer
from segue_music.plan import Origin
from segue_planner.facts.decision_log import DecisionLog
from segue_planner.names import layer_names, role_name
from segue_planner.parts.arrangement import Arranger
from segue_planner.parts.ensemble import Ensemble
from segue_planner.parts.prompted_section import NOTHING, StatedValues, players_of, with_prompt
from segue_planner.parts.section_prompts import is_planned
from segue_planner.profiles import profile_of
from segue_planner.prompt.clauses import not_read, quoted
from segue_planner.prompt.exclusions import read_negative_prompt, with_exclusions
from segue_planner.prompt.prompt_facts import PromptFacts
from segue_planner.prompt.section_prompt import read_section_prompt
from segue_planner.prompt.word_list.instruments import whole_layers
from segue_planner.prompt.word_list.words import word_list

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from segue_music.elements import LayerKind
    from segue_music.plan import Brief, ModelProfile, Plan, Reading, SectionSpec, Warning  # noqa: A004
    from segue_planner.genres.genre import Genre
    from segue_planner.parts.ensemble import Players
    from segue_planner.prompt.section_prompt import SectionFacts

SECTION_CODES = frozenset({"section_prompt_not_read", "section_prompt_contradiction"})


class PlanPrompts:
    """The prompts of one caller's plan."""

    def __init__(
        self, plan: Plan, profiles: Sequence[ModelProfile], brief: Brief, genre: Genre, rewritten: Collection[str]
    ) -> None:
        """`rewritten` are the sections whose prompt is newer than what they state."""
        self._plan, self._profiles, self._genre = plan, profiles, genre
        self._brief_words = brief.negative_prompt
        self._excluded = read_negative_prompt(brief.negative_prompt)
        self._log = DecisionLog()
        self._rewritten = frozenset(
            item.spec.section_id
            for item in plan.sections
            if item.spec.section_id in rewritten and self._reads_for_model(item.spec)
        )
        read = {each.section_id for each in plan.readings}
        read |= {each.section_id for each in plan.warnings if each.code in SECTION_CODES}
        self._read_before = read - self._rewritten
        self._players = self._players_of_plan()

    def _reads_for_model(self, spec: SectionSpec) -> bool:
        """Return whether the planner reads a section's prompt: its model does not."""
        profile = profile_of(spec, self._profiles)
        return profile is None or not profile.uses_prompt

    def reads_negative(self, spec: SectionSpec) -> bool:
        """Return whether a section's model reads negative prompts itself, or may do so."""
        profile = profile_of(spec, self._profiles)
        return profile is None or profile.uses_negative_prompt

    @property
    def keeps_negative(self) -> bool:
        """Whether some section's model may read negative prompts."""
        return any(self.reads_negative(item.spec) for item in self._plan.sections)

    @property
    def players(self) -> Players:
        """The players of sections that state no layers."""
        return self._players

    def readings(self, kept: Iterable[Reading]) -> Iterator[Reading]:
        """Yield the plan's readings that still hold, and the new ones."""
        yield from (each for each in kept if each.section_id not in self._rewritten or not each.section_id)
        yield from self._log.readings

    def warnings(self) -> Iterator[Warning]:
        """Yield the plan's warnings that still hold, and the new ones."""
        kept = [each for each in self._plan.warnings if each.section_id not in self._rewritten or not each.section_id]
        yield from dict.fromkeys((*kept, *self._log.warnings))

    def apply(self, given: SectionSpec, filled: SectionSpec) -> SectionSpec:
        """Return a filled section with what its prompts say."""
        spec = self._without_denied(given, filled)
        if self._plan.digest or not self._is_new(given):
            return spec
        facts = read_section_prompt(given.prompt, given.role)
        profile = profile_of(given, self._profiles)
        if facts.unread and profile is not None:
            self._log.warn_section(
                "section_prompt_not_read",
                spec,
                f"{quoted(facts.unread)} in its prompt is no known layer, instrument, energy or feel, and "
                f"{profile.model} reads no prompts; it has no effect",
            )
        stated = NOTHING if given.section_id in self._rewritten else StatedValues.of(given)
        piece = self._players_of_piece()
        if not (stated.layers or given.layers) and _says_anything(facts):
            # The section plays with the instruments of the piece, not with those of the genre.
            arranger = Arranger(Ensemble(piece), self._genre)
            layers = arranger.arrange(spec.role, spec.energy, first=False, fullest=False)
            spec = dataclasses.replace(spec, layers=layers)
        return with_prompt(spec, facts, stated, piece, self._genre, self._log)

    def check(self, specs: Collection[SectionSpec]) -> None:
        """Warn about what the negative prompt beside the plan excludes and the plan has, and about what is not read."""
        unknown = [mood for mood in self._plan.moods if mood not in word_list()["moods"]]
        if unknown:
            self._log.warn("mood_unknown", f"plan.moods: {quoted(unknown)} is no known mood; it has no effect")
        excluded = self._excluded
        if not excluded.denying and not excluded.unread:
            return
        unread = [*excluded.unread, *excluded.without_course.values(), *excluded.without_tempos.values()]
        if unread and not all(self._reads_surely(spec) for spec in specs):
            self._log.warn("negative_prompt_not_read", not_read(unread))
        if any(each.origin == Origin.NEGATIVE_PROMPT and not each.section_id for each in self._plan.readings):
            return  # the plan was made with it
        found = [*self._piece_denials(), *(word for spec in specs for word in denied_in(spec, excluded))]
        if found:
            text = ", ".join(dict.fromkeys(found))
            self._log.warn(
                "negative_prompt_contradiction",
                f"negative_prompt excludes {text}, but the plan has it; the plan is used",
            )

    def _reads_surely(self, spec: SectionSpec) -> bool:
        profile = profile_of(spec, self._profiles)
        return profile is not None and profile.uses_negative_prompt

    def _piece_denials(self) -> Iterator[str]:
        if self._plan.genre in self._excluded.without_genres:
            yield self._plan.genre
        yield from (mood for mood in self._plan.moods if mood in self._excluded.without_moods)
        for item in self._plan.sections:
            if item.spec.role in self._excluded.without_roles:
                yield role_name(item.spec.role)

    def _is_new(self, given: SectionSpec) -> bool:
        """Return whether a section's prompt is a caller's, and not read yet."""
        return (
            self._reads_for_model(given)
            and bool(given.prompt)
            and not is_planned(given.prompt)
            and given.section_id not in self._read_before
        )

    def _without_denied(self, given: SectionSpec, filled: SectionSpec) -> SectionSpec:
        """Apply a section's own negative prompt. The field is left to models that read it."""
        if not given.negative_prompt or given.negative_prompt == self._brief_words:
            return filled
        excluded, spec = read_negative_prompt(given.negative_prompt), filled
        if not given.layers and (excluded.without_layers or excluded.without_instruments):
            own = DecisionLog()
            base = {layer.kind: layer.instruments for layer in filled.layers}
            players = players_of(with_exclusions(PromptFacts(), excluded), base, self._genre, own)
            self._log.adopt(filled, own)
            levels = {layer.kind: layer.level for layer in filled.layers}
            layers = tuple(Layer(kind, names, levels.get(kind)) for kind, names in sorted(players.items()))
            spec = dataclasses.replace(filled, layers=layers)
        denied = list(denied_in(spec, excluded))
        if denied:
            text = f"its negative_prompt excludes {', '.join(denied)}, which it states; its layers are used"
            self._log.warn_section("negative_prompt_contradiction", filled, text)
        if self.reads_negative(given):
            return spec
        unread = [
            *excluded.unread,
            *(
                words
                for table in (
                    excluded.without_genres, excluded.without_moods, excluded.without_tempos, excluded.without_course,
                    excluded.without_roles,
                )
                for words in table.values()
            ),
        ]  # fmt: skip
        if unread:
            self._log.warn_section("negative_prompt_not_read", filled, not_read(unread))
        return spec if self._plan.digest else dataclasses.replace(spec, negative_prompt="")

    def _players_of_plan(self) -> Players:
        """Return the genre's players without those that the negative prompt excludes."""
        excluded = self._excluded
        is_open = any(not item.spec.layers for item in self._plan.sections)
        if not is_open or not (excluded.without_layers or excluded.without_instruments):
            return self._genre.layers
        return players_of(with_exclusions(PromptFacts(), excluded), self._genre.layers, self._genre, self._log)

    def _players_of_piece(self) -> Players:
        """Return the players of all sections that state layers; those of the genre if none does."""
        found: dict[LayerKind, tuple[str, ...]] = {}
        for item in self._plan.sections:
            for layer in item.spec.layers:
                found.setdefault(layer.kind, layer.instruments or self._players.get(layer.kind, ()))
        return found or self._players


def _says_anything(facts: SectionFacts) -> bool:
    return facts.says_players or any((facts.change, facts.slope, facts.feel))


def denied_in(spec: SectionSpec, excluded: PromptFacts) -> Iterator[str]:
    """Yield what a negative prompt excludes and a section has."""
    for layer in spec.layers:
        whole = not layer.instruments or any(name in whole_layers() for name in layer.instruments)
        if layer.kind in excluded.without_layers and whole:
            yield layer_names([layer.kind])
        for name in layer.instruments:
            if any(set(denied.split()) <= set(name.split()) for denied in excluded.without_instruments):
                yield name
