"""Writes the sections of a form that fits: the keys, chords, parts, groove and texts of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue_music.elements import Feel, Groove, LayerKind
from segue_music.plan import Cadence, Kind, Origin, Role, SectionSpec
from segue_music.theory import key_name
from segue_planner.checks.plan_checks import refuse_long_negative_prompt
from segue_planner.form.outline import PEAKS, Shape, transition
from segue_planner.limits import MAX_STYLE_BYTES
from segue_planner.parts import energy, harmony
from segue_planner.parts.arrangement import Arranger, is_electronic, is_heavy
from segue_planner.parts.ensemble import Casting, Ensemble
from segue_planner.parts.placement import choose_continuity, target_lufs, with_neighbours, with_prompts
from segue_planner.text import clean, clip

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from segue_music.elements import Chord, Key
    from segue_music.plan import Brief, ModelProfile
    from segue_planner.facts.decision_log import Ledger
    from segue_planner.facts.resolver import Facts
    from segue_planner.form.lengths import Timed
    from segue_planner.language_model.proposal import ProposedSection
    from segue_planner.prompt.prompt_facts import PromptReading

HEAVY_ROLES: Final = frozenset({Role.BREAKDOWN, Role.BRIDGE})
"""Where fast and heavy music drops to half its pace."""
HALF_STEP: Final = ("half step", "half-step", "semitone")
LONG_PIECE: Final = 9
"""From so many sections on a piece leaves its key on the way."""
CONTRASTING: Final = frozenset({Role.BRIDGE, Role.DEVELOPMENT})


class SectionWriter:
    """One piece whose form and length are decided."""

    def __init__(
        self,
        brief: Brief,
        read: PromptReading,
        profile: ModelProfile | None,
        ledger: Ledger,
        *,
        chance: random.Random,
        facts: Facts,
        timed: Timed,
        proposed: Sequence[ProposedSection],
    ) -> None:
        """`proposed` are a language model's sections where its form is played, else nothing."""
        self._brief, self._read, self._profile, self._ledger = brief, read, profile, ledger
        self._prompt, self._chance = clean(brief.prompt), chance
        self._facts, self._timed, self._proposed = facts, timed, proposed

    def specs(self) -> list[SectionSpec]:
        """Write all sections, each with what it must know of its neighbours."""
        facts, timed = self._facts, self._timed
        refuse_long_negative_prompt(self._brief.negative_prompt, len(timed.shapes))
        motif = harmony.make_motif(timed.metre, self._chance)
        ensemble = Casting(self._brief, self._read, facts.genre, self._ledger).ensemble()
        curves = energy.curve(timed.shapes, facts.arousal, self._read.course)
        fullest = max(range(len(curves)), key=lambda index: energy.mean(curves[index]))
        keys = self._keys()
        continuity = choose_continuity(self._brief.continuity, self._profile)
        arranger = Arranger(ensemble, facts.genre)
        cast = [
            arranger.section(shape.role, curves[index], first=index == 0, fullest=index == fullest)
            for index, shape in enumerate(timed.shapes)
        ]
        last_peak = max((index for index, shape in enumerate(timed.shapes) if shape.role in PEAKS), default=0)
        drums = [any(layer.kind == LayerKind.RHYTHM for layer in layers) for layers in cast]
        specs = []
        for index, shape in enumerate(timed.shapes):
            last = index + 1 == len(timed.shapes)
            following = None if last else timed.shapes[index + 1].role
            cadence = harmony.cadence_for(
                shape.role, following, closes=facts.genre.closes, loops=facts.kind == Kind.LOOP
            )
            specs.append(
                SectionSpec(
                    section_id=shape.section_id,
                    role=shape.role,
                    label=shape.label,
                    bars=shape.bars,
                    frames=timed.frames[index],
                    tail_frames=timed.tail_frames if last else 0,
                    sample_rate=facts.sample_rate,
                    metre=timed.metre,
                    tempo_points=timed.points[index],
                    key=keys[index],
                    genre=facts.genre.name,
                    energy=curves[index],
                    layers=cast[index],
                    chords=self._chords(index, keys, cadence),
                    cadence=cadence,
                    motif=motif,
                    motif_use=shape.motif_use,
                    groove=self._groove(shape),
                    transition=transition(
                        shape.role,
                        following,
                        drums=drums[index],
                        next_drums=not last and drums[index + 1],
                        electronic=is_electronic(facts.genre),
                        final=index + 1 == last_peak,
                    ),
                    negative_prompt=self._negative_prompt(ensemble),
                    sampling=self._brief.sampling,
                    continuity=continuity,
                    target_lufs=target_lufs(curves[index]),
                    loop=facts.kind == Kind.LOOP and len(timed.shapes) == 1,
                )
            )
        for shape, proposed in zip(timed.shapes, self._proposed, strict=False):
            if proposed.words:
                self._ledger.note("words", f"{shape.label}: {proposed.words}", Origin.LANGUAGE_MODEL)
        words = [each.words for each in self._proposed]
        return with_prompts(with_neighbours(specs), self._style(), words)

    def _chords(self, index: int, keys: Sequence[Key], cadence: Cadence) -> tuple[Chord, ...]:
        facts, timed = self._facts, self._timed
        shape, key = timed.shapes[index], keys[index]
        leads_to = keys[index + 1] if index + 1 < len(keys) and keys[index + 1] != key else None
        count = sum(other.role == shape.role for other in timed.shapes[: index + 1])
        progression = harmony.choose_progression(facts.genre.progressions(key.mode), shape.role, count)
        if self._proposed and self._proposed[index].chords:
            progression = self._proposed[index].chords
            self._ledger.note("chords", f"{shape.label}: {' '.join(progression)}", Origin.LANGUAGE_MODEL)
            return harmony.fill_chords(progression, key, timed.metre, shape.bars, cadence, leads_to=leads_to)
        return harmony.fill_chords(
            progression, key, timed.metre, shape.bars, cadence, facts.genre.chord_bars, leads_to=leads_to
        )

    def _keys(self) -> list[Key]:
        """Return each section's key: a key change lifts the last peak; a sonata's middle stands in the relative key."""
        facts, shapes = self._facts, self._timed.shapes
        keys = [facts.key] * len(shapes)
        said = self._read.course.get("key_change")
        if said is not None:
            peaks = [index for index, shape in enumerate(shapes) if shape.role in PEAKS and index]
            if not peaks:
                self._ledger.warn("no_key_change", f"{said!r}: the piece is too short for a key change")
                return keys
            steps = 1 if any(word in self._prompt.lower() for word in HALF_STEP) else 2
            lifted = harmony.raised(facts.key, steps)
            self._ledger.note(
                "key change", f"to {key_name(lifted)} from {shapes[peaks[-1]].label}", Origin.PROMPT, said
            )
            return [key if index < peaks[-1] else lifted for index, key in enumerate(keys)]
        if facts.kind == Kind.LOOP or (facts.genre.form not in {"sonata", "head"} and len(shapes) < LONG_PIECE):
            return keys
        # A middle away from home: where standards and sonatas have it, and where a long piece needs it.
        away = harmony.subdominant(facts.key) if facts.genre.form == "head" else harmony.relative(facts.key)
        for index, shape in enumerate(shapes[:-1]):
            if shape.role in CONTRASTING and index and shape.bars >= 4:
                keys[index] = away
                self._ledger.note("key change", f"{shape.label} in {key_name(keys[index])}", Origin.GENRE)
        return keys

    def _groove(self, shape: Shape) -> Groove:
        facts = self._facts
        course = self._read.course
        feel = facts.genre.feel
        if self._read.feel_role in {None, shape.role}:
            feel = Feel.HALF_TIME if "half_time" in course else Feel.DOUBLE_TIME if "double_time" in course else feel
        if feel == Feel.UNSPECIFIED and shape.role in HEAVY_ROLES and is_heavy(facts.genre):
            feel = Feel.HALF_TIME
        return Groove(name=facts.genre.groove, swing=facts.genre.swing, feel=feel)

    def _style(self) -> str:
        return clip(self._prompt, MAX_STYLE_BYTES) or f"{self._facts.genre.name} music"

    def _negative_prompt(self, ensemble: Ensemble) -> str:
        """Return what should not be heard; what the prompt denies is added for models that listen to it."""
        if not (self._profile and self._profile.uses_negative_prompt):
            return self._brief.negative_prompt
        left_out: list[LayerKind] = [*self._read.without_layers, *self._brief.exclude_layers]
        denied = [
            *(kind.name.lower() for kind in left_out if kind not in ensemble.layers),
            *self._read.without_instruments,
        ]
        return ", ".join(dict.fromkeys(filter(None, [self._brief.negative_prompt, *denied])))
