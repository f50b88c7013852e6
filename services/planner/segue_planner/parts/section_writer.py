"""Writes the sections of a timed form: the keys, chords, layers, groove and prompts of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_music.elements import Feel, Groove, Key, LayerKind
from segue_music.plan import Cadence, Continuity, Kind, Origin, Role, SectionSpec, Transition
from segue_music.theory import key_name
from segue_planner.averages import mean
from segue_planner.checks.brief_checks import refuse_long_negative_prompt
from segue_planner.form.roles import ENDINGS, PEAKS
from segue_planner.form.transitions import choose_transition
from segue_planner.genres.artists import without_names
from segue_planner.limits import MAX_NEGATIVE_PROMPT_BYTES, MAX_STYLE_BYTES
from segue_planner.names import role_name
from segue_planner.parts.arrangement import Arranger
from segue_planner.parts.cadences import choose_cadence
from segue_planner.parts.chords import choose_progression, fill_chords
from segue_planner.parts.energy import energy_curves
from segue_planner.parts.ensemble import EnsembleBuilder
from segue_planner.parts.keys import parallel, raised, relative, subdominant
from segue_planner.parts.motif import make_motif, random_of
from segue_planner.parts.placement import choose_continuity, target_lufs, with_neighbours
from segue_planner.parts.prompted_section import staged_energy, staged_layers
from segue_planner.parts.section_prompts import LAYER_WORDS, with_prompts
from segue_planner.prompt.prompt_facts import Changes
from segue_planner.text import clean, clip

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    from segue_music.elements import Chord, Layer, Metre, Motif
    from segue_music.plan import Brief, ModelProfile
    from segue_planner.facts.decision_log import DecisionLog
    from segue_planner.facts.piece_facts import PieceFacts
    from segue_planner.form.lengths import TimedForm
    from segue_planner.form.outline import SectionOutline
    from segue_planner.form.request import ProposedSection
    from segue_planner.form.stage import Stage
    from segue_planner.lyrics.brief_lyrics import BriefLyrics
    from segue_planner.parts.ensemble import Ensemble
    from segue_planner.prompt.prompt_facts import PromptFacts

FEELS: Final = {Feel.HALF_TIME: "half_time", Feel.DOUBLE_TIME: "double_time"}
HEAVY_ROLES: Final = frozenset({Role.BREAKDOWN, Role.BRIDGE})
"""Roles in which fast and heavy music drops to half its pace."""
LONG_PIECE: Final = 9
"""The number of sections from which a piece leaves its key in the middle."""
CONTRASTING: Final = frozenset({Role.BRIDGE, Role.DEVELOPMENT})
"""Roles that may be in another key."""


@dataclass(frozen=True)
class _Parts:
    """The parts of the sections; each sequence has one entry for each section."""

    motifs: Mapping[Metre, Motif]
    """The theme in each metre of the piece."""
    energy: Sequence[tuple[float, ...]]
    keys: Sequence[Key]
    layers: Sequence[tuple[Layer, ...]]
    last_peak: int
    """The index of the last peak, or 0."""
    continuity: Continuity
    negative_prompt: str


class SectionWriter:
    """Writes one piece whose form and length are decided."""

    def __init__(
        self,
        brief: Brief,
        prompt: PromptFacts,
        profile: ModelProfile | None,
        log: DecisionLog,
        *,
        chance: random.Random,
        facts: PieceFacts,
        timed: TimedForm,
        proposed: Sequence[ProposedSection],
        stage: Stage,
        lyrics: BriefLyrics | None = None,
    ) -> None:
        """`proposed` are a language model's sections when its form is used, else nothing."""
        self._lyrics, self._stage = lyrics, stage
        self._brief, self._prompt, self._profile, self._log = brief, prompt, profile, log
        self._prompt_text, self._chance = without_names(clean(brief.prompt), prompt.artists), chance
        self._facts, self._timed, self._proposed = facts, timed, proposed

    def write(self) -> list[SectionSpec]:
        """Write all sections, with their neighbours and prompts."""
        parts = self._parts()
        refuse_long_negative_prompt(parts.negative_prompt, len(self._timed.sections))
        specs = [self._section(index, parts) for index in range(len(self._timed.sections))]
        if self._lyrics is not None:
            places = [section.place for section in self._timed.sections]
            specs = self._lyrics.write(specs, places, [self._profile] if self._profile else [])
        for section, proposed in zip(self._timed.sections, self._proposed, strict=False):
            if proposed.words:
                self._log.record("words", f"{section.label}: {proposed.words}", Origin.LANGUAGE_MODEL)
        words = [each.words for each in self._proposed]
        return with_prompts(with_neighbours(specs), self._style(), words)

    def _parts(self) -> _Parts:
        facts, sections = self._facts, self._timed.sections
        motifs = self._motifs()
        ensemble = EnsembleBuilder(self._brief, self._prompt, facts.genre, self._log).build()
        energy = energy_curves(sections, facts.arousal, self._prompt.course)
        energy = [staged_energy(values, self._stage.here(index)) for index, values in enumerate(energy)]
        fullest = max(range(len(energy)), key=lambda index: mean(energy[index]))
        arranger = Arranger(ensemble, facts.genre)
        return _Parts(
            motifs=motifs,
            energy=energy,
            keys=self._keys(),
            layers=[
                staged_layers(
                    arranger.arrange(section.role, energy[index], first=index == 0, fullest=index == fullest),
                    ensemble.layers,
                    facts.genre,
                    self._stage.here(index),
                    self._stage.elsewhere(index),
                )
                for index, section in enumerate(sections)
            ],
            last_peak=max((index for index, section in enumerate(sections) if section.role in PEAKS), default=0),
            continuity=choose_continuity(self._brief.continuity, self._profile),
            negative_prompt=self._negative_prompt(ensemble),
        )

    def _motifs(self) -> dict[Metre, Motif]:
        """Return the theme in the metre of the piece and in those of single sections, from the same random numbers."""
        state = self._chance.getstate()
        found = {self._timed.metre: make_motif(self._timed.metre, self._chance)}
        for section in self._timed.sections:
            if section.metre and section.metre not in found:
                again = random_of(0)
                again.setstate(state)
                found[section.metre] = make_motif(section.metre, again)
        return found

    def _section(self, index: int, parts: _Parts) -> SectionSpec:
        facts, timed, outline = self._facts, self._timed, self._timed.sections[index]
        is_last = index + 1 == len(timed.sections)
        is_loop = facts.kind == Kind.LOOP
        cadence = choose_cadence(outline.role, self._role_after(index), closes=facts.genre.closes, loops=is_loop)
        return SectionSpec(
            section_id=outline.section_id,
            role=outline.role,
            label=outline.label,
            bars=outline.bars,
            frames=timed.frames[index],
            tail_frames=timed.tail_frames if is_last else 0,
            sample_rate=facts.sample_rate,
            metre=outline.metre or timed.metre,
            tempo_points=timed.tempo_points[index],
            key=parts.keys[index],
            genre=facts.genre.name,
            energy=parts.energy[index],
            layers=parts.layers[index],
            chords=self._chords(index, parts.keys, cadence),
            cadence=cadence,
            motif=parts.motifs[outline.metre or timed.metre],
            motif_use=outline.motif_use,
            groove=self._groove(outline),
            transition=self._transition(index, parts),
            negative_prompt=parts.negative_prompt,
            sampling=self._brief.sampling,
            continuity=parts.continuity,
            target_lufs=target_lufs(facts.genre.name, parts.energy[index]),
            loop=is_loop and len(timed.sections) == 1,
        )

    def _role_after(self, index: int) -> Role | None:
        sections = self._timed.sections
        return sections[index + 1].role if index + 1 < len(sections) else None

    def _transition(self, index: int, parts: _Parts) -> Transition:
        if index + 1 < len(parts.layers) and self._stage.stops_before(index + 1):
            return Transition.STOP
        drums = [any(layer.kind == LayerKind.RHYTHM for layer in each) for each in parts.layers[index : index + 2]]
        return choose_transition(
            self._timed.sections[index].role,
            self._role_after(index),
            drums=drums[0],
            next_drums=drums[1:] == [True],
            electronic=self._facts.genre.is_electronic,
            final=index + 1 == parts.last_peak,
        )

    def _chords(self, index: int, keys: Sequence[Key], cadence: Cadence) -> tuple[Chord, ...]:
        facts, timed = self._facts, self._timed
        section, key = timed.sections[index], keys[index]
        leads_to = keys[index + 1] if index + 1 < len(keys) and keys[index + 1] != key else None
        if self._proposed and self._proposed[index].chords:
            progression, chord_bars = self._proposed[index].chords, 1
            self._log.record("chords", f"{section.label}: {' '.join(progression)}", Origin.LANGUAGE_MODEL)
        else:
            count = sum(other.role == section.role for other in timed.sections[: index + 1])
            progression = choose_progression(facts.genre.progressions(key.mode), section.role, count)
            chord_bars = facts.genre.chord_bars
        metre = section.metre or timed.metre
        return fill_chords(progression, key, metre, section.bars, cadence, chord_bars, leads_to=leads_to)

    def _keys(self) -> list[Key]:
        """Return each section's key: "key change" lifts the last peak, and some forms leave the key in the middle."""
        facts, sections = self._facts, self._timed.sections
        words = self._prompt.course.get("key_change")
        if words is not None:
            return self._keys_with_change(words)
        keys = [facts.key] * len(sections)
        if self._prompt.changes and self._prompt.changes.role_keys:
            return self._keys_of_roles(self._prompt.changes)
        if "key_change" in self._prompt.without_course:
            return keys
        if facts.kind == Kind.LOOP or (facts.genre.form not in {"sonata", "head"} and len(sections) < LONG_PIECE):
            return keys
        away = subdominant(facts.key) if facts.genre.form == "head" else relative(facts.key)
        for index, section in enumerate(sections[:-1]):
            if section.role in CONTRASTING and index and section.bars >= 4:
                keys[index] = away
                self._log.record("key change", f"{section.label} in {key_name(keys[index])}", Origin.GENRE)
        return keys

    def _keys_with_change(self, words: str) -> list[Key]:
        facts, sections = self._facts, self._timed.sections
        keys = [facts.key] * len(sections)
        peaks = [index for index, section in enumerate(sections) if section.role in PEAKS and index]
        peaks = peaks or [index for index, section in enumerate(sections) if index and section.role not in ENDINGS]
        peaks = peaks or list(range(1, len(sections)))
        if not peaks:
            self._log.warn("no_key_change", f"{words!r}: the piece is too short for a key change")
            return keys
        changes = self._prompt.changes or Changes()
        steps = 2 if changes.steps is None else changes.steps
        if changes.every:
            return self._rising_keys(steps, words)
        lifted = raised(facts.key, steps)
        alone = [section.role == changes.step_role for section in sections]
        if changes.step_role is not None and any(alone):
            self._log.record(
                "key change", f"{key_name(lifted)} in the {role_name(changes.step_role)}", Origin.PROMPT, words
            )
            return [lifted if is_alone else facts.key for is_alone in alone]
        first = self._first_at(changes) or peaks[-1]
        if changes.last_key or changes.related:
            lifted = changes.last_key or (relative if changes.related == "relative" else parallel)(facts.key)
        self._log.record("key change", f"to {key_name(lifted)} from {sections[first].label}", Origin.PROMPT, words)
        return [key if index < first else lifted for index, key in enumerate(keys)]

    def _first_at(self, changes: Changes) -> int:
        """Return the first section at the stated place of the key change, or 0."""
        place = changes.key_place
        inside = (index for index in range(len(self._timed.sections)) if place and self._stage.inside(index, place))
        return next(inside, 0)

    def _rising_keys(self, steps: int, words: str) -> list[Key]:
        """Return keys that rise with each return of a peak."""
        found, key, peaks = [], self._facts.key, 0
        for section in self._timed.sections:
            if section.role in PEAKS:
                peaks += 1
                key = raised(key, steps) if peaks > 1 else key
            found.append(key)
        self._log.record("key change", f"{steps} semitones with each return", Origin.PROMPT, words)
        return found

    def _keys_of_roles(self, changes: Changes) -> list[Key]:
        """Return each section's key where the prompt gives keys or modes to roles."""
        found = []
        for section in self._timed.sections:
            stated, words = changes.role_keys.get(section.role, (None, ""))
            key = (
                self._facts.key
                if stated is None
                else stated
                if isinstance(stated, Key)
                else Key(self._facts.key.tonic, stated)
            )
            if words:
                self._log.record("key change", f"{section.label} in {key_name(key)}", Origin.PROMPT, words)
            found.append(key)
        return found

    def _groove(self, section: SectionOutline) -> Groove:
        facts, course = self._facts, self._prompt.course
        feel = facts.genre.feel
        if self._prompt.feel_role in {None, section.role}:
            feel = Feel.HALF_TIME if "half_time" in course else Feel.DOUBLE_TIME if "double_time" in course else feel
        if feel == Feel.UNSPECIFIED and section.role in HEAVY_ROLES and facts.genre.is_heavy:
            feel = Feel.HALF_TIME
        if FEELS.get(feel) in self._prompt.without_course:
            feel = Feel.UNSPECIFIED
        return Groove(name=facts.genre.groove, swing=facts.genre.swing, feel=feel)

    def _style(self) -> str:
        return clip(self._prompt_text, MAX_STYLE_BYTES) or f"{self._facts.genre.name} music"

    def _negative_prompt(self, ensemble: Ensemble) -> str:
        """Return what must not be heard, for models that read it; for them, the prompt's denials are added.

        For other models the plan itself leaves out what the negative prompt names.
        """
        stated = clean(self._brief.negative_prompt)
        if self._profile is None:
            return stated
        if not self._profile.uses_negative_prompt:
            return ""
        left_out: list[LayerKind] = [*self._prompt.without_layers, *self._brief.exclude_layers]
        said = stated.lower()
        denied = [
            *(LAYER_WORDS.get(kind, kind.name.lower()) for kind in left_out if kind not in ensemble.layers),
            *self._prompt.without_instruments,
        ]
        added = [name for name in dict.fromkeys(denied) if name not in said]
        return clip(", ".join(filter(None, [stated, *added])), MAX_NEGATIVE_PROMPT_BYTES)
