"""Makes a plan of a brief: reads, decides, fills. Pure: the same brief gives the same plan everywhere."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from typing import TYPE_CHECKING, Final

from segue.music.v1 import music_pb2
from segue_music import codec
from segue_music.plan import Brief, Cadence, Feel, Groove, Kind, LayerKind, Origin, Plan, Role, SectionSpec
from segue_music.theory import key_name
from segue_planner import energy, harmony
from segue_planner.arrangement import Arranger, is_electronic, is_heavy
from segue_planner.band import Casting, Ensemble
from segue_planner.checks import refuse_long_negative_prompt
from segue_planner.facts import Decider, Facts, Guess
from segue_planner.form import PEAKS, FormWish, Shape, build_form, transition
from segue_planner.ledger import Ledger
from segue_planner.lengths import Fitter, Timed
from segue_planner.limits import MAX_STYLE_BYTES
from segue_planner.prompt import read_prompt
from segue_planner.proposal import Proposal, ProposedSection, woven
from segue_planner.sections import choose_continuity, place, target_lufs, with_neighbours, with_prompts
from segue_planner.text import clean, clip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.plan import Chord, Key, ModelProfile
    from segue_planner.reading import PromptReading

TITLE_END: Final = re.compile(r"[,.;:!?]\s")
HEAVY_ROLES: Final = frozenset({Role.BREAKDOWN, Role.BRIDGE})
"""Where fast and heavy music drops to half its pace."""
HALF_STEP: Final = ("half step", "half-step", "semitone")
LONG_PIECE: Final = 9
"""From so many sections on a piece leaves its key on the way."""
CONTRASTING: Final = frozenset({Role.BRIDGE, Role.DEVELOPMENT})


class Planner:
    """One brief on its way to a plan."""

    def __init__(
        self,
        brief: Brief,
        profiles: Sequence[ModelProfile] = (),
        reading: PromptReading | None = None,
        proposal: Proposal | str | None = None,
    ) -> None:
        """`proposal` is a language model's, or why there is none although one was wanted."""
        self._brief = brief
        self._profile = profiles[0] if profiles else None
        self._prompt = clean(brief.prompt)
        self._read = reading or read_prompt(self._prompt)
        self._ledger = Ledger()
        self._proposal = proposal if isinstance(proposal, Proposal) else Proposal()
        if isinstance(proposal, str):
            self._ledger.warn("language_model_unused", f"the rules planned alone: {proposal}")
        for repair in self._proposal.repairs:
            self._ledger.warn("language_model_repaired", f"in the language model's proposal: {repair}")
        self._proposed: list[ProposedSection] = []
        self._seed = seed_of(brief)
        self._chance = harmony.chance_of(self._seed)

    def plan(self) -> Plan:
        """Make the plan."""
        for remark in self._read.remarks:
            self._ledger.warn("prompt_contradiction", remark)
        seed_origin = Origin.CALLER if self._brief.seed is not None else Origin.DEFAULT
        self._ledger.note("seed", str(self._seed), seed_origin)
        guess = Guess(self._proposal.genre, self._proposal.moods)
        facts = Decider(self._brief, self._read, self._ledger, self._chance, guess).decide()
        wish = self._form_wish()
        fitter = Fitter(
            facts=facts,
            tail=self._brief.tail,
            course=self._read.course,
            ledger=self._ledger,
            build=lambda bars: build_form(bars, facts.genre, wish),
            num_form=len(self._brief.form),
        )
        timed = fitter.fit()
        self._note_form(timed, wish)
        specs = self._specs(facts, timed)
        plan = Plan(
            version=1,
            title=clip(self._title(), 256),
            kind=facts.kind,
            sample_rate=facts.sample_rate,
            frames=timed.total_frames,
            quarters_per_minute=timed.quarters_per_minute,
            metre=timed.metre,
            key=facts.key,
            genre=facts.genre.name,
            moods=tuple(self._read.moods)[:16] or self._proposal.moods or facts.genre.moods,
            motif=specs[0].motif,
            sections=place(specs, self._profile),
            seed=self._seed,
            readings=self._ledger.readings,
            warnings=self._ledger.warnings,
        )
        return dataclasses.replace(plan, digest=codec.plan_digest(plan))

    # The form.

    def _form_wish(self) -> FormWish:
        read, given = self._read, self._brief.form
        if given:
            if read.form and read.form.value != given:
                self._ledger.contradiction("form", _form_name(given), read.form.words)
            return FormWish(roles=given)
        wish = FormWish(
            roles=read.form.value if read.form else (),
            role_bars={role: said.value for role, said in read.role_bars.items()},
            has=tuple(read.has),
            without=frozenset(read.without_roles),
            long_start="long_start" in read.course,
            long_end="long_end" in read.course,
            loop=(self._brief.kind or (Kind.LOOP if "loop" in read.course else Kind.PIECE)) == Kind.LOOP,
        )
        if read.form or not self._proposal.sections or wish.loop:
            return wish
        self._proposed = woven(self._proposal.sections, wish)
        return dataclasses.replace(
            wish,
            roles=tuple(each.role for each in self._proposed),
            shares=tuple(each.bars for each in self._proposed),
        )

    def _note_form(self, timed: Timed, wish: FormWish) -> None:
        read = self._read
        name = " ".join(shape.section_id for shape in timed.shapes)
        if self._brief.form:
            self._ledger.note("form", name, Origin.CALLER)
            return
        if read.form:
            self._ledger.note("form", name, Origin.PROMPT, read.form.words)
            if len(timed.shapes) < len(wish.roles):
                self._ledger.warn(
                    "form_cut", f"only {len(timed.shapes)} of {len(wish.roles)} sections fit into the length"
                )
        else:
            if [shape.role for shape in timed.shapes] == [each.role for each in self._proposed]:
                self._ledger.note("form", name, Origin.LANGUAGE_MODEL)
            else:
                if self._proposed:
                    self._ledger.warn(
                        "language_model_repaired", "its form does not fit the length; the genre's is used"
                    )
                    self._proposed = []
                self._ledger.note("form", name, Origin.GENRE if read.genre or self._brief.genre else Origin.DEFAULT)
            roles = {shape.role for shape in timed.shapes}
            for role, said in read.has.items():
                if role in roles:
                    self._ledger.note("section", _word(role), Origin.PROMPT, said)
                else:
                    self._ledger.warn("section_left_out", f"the piece is too short for the {_word(role)}")
        self._note_course(timed)

    def _note_course(self, timed: Timed) -> None:
        read = self._read
        for role, said in read.without_roles.items():
            self._ledger.note("section", f"no {_word(role)}", Origin.PROMPT, said)
        for role, bars in read.role_bars.items():
            made = [shape.bars for shape in timed.shapes if shape.role == role]
            self._ledger.note("bars", f"{bars.value} bars of {_word(role)}", Origin.PROMPT, bars.words)
            if made and any(each != bars.value for each in made):
                self._ledger.warn("bars_changed", f"{bars.words!r} does not fit the length: it has {made[0]} bars")
        for course, said in read.course.items():
            if course != "loop":
                self._ledger.note("course", course.replace("_", " "), Origin.PROMPT, said)

    # The sections.

    def _specs(self, facts: Facts, timed: Timed) -> list[SectionSpec]:
        refuse_long_negative_prompt(self._brief.negative_prompt, len(timed.shapes))
        motif = harmony.make_motif(timed.metre, self._chance)
        ensemble = Casting(self._brief, self._read, facts.genre, self._ledger).ensemble()
        curves = energy.curve(timed.shapes, facts.arousal, self._read.course)
        fullest = max(range(len(curves)), key=lambda index: energy.mean(curves[index]))
        keys = self._keys(facts, timed.shapes)
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
                    chords=self._chords(facts, timed, index, keys, cadence),
                    cadence=cadence,
                    motif=motif,
                    motif_use=shape.motif_use,
                    groove=self._groove(facts, shape),
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
        return with_prompts(with_neighbours(specs), self._style(facts), words)

    def _chords(
        self, facts: Facts, timed: Timed, index: int, keys: Sequence[Key], cadence: Cadence
    ) -> tuple[Chord, ...]:
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

    def _keys(self, facts: Facts, shapes: Sequence[Shape]) -> list[Key]:
        """Return each section's key: a key change lifts the last peak; a sonata's middle stands in the relative key."""
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

    def _groove(self, facts: Facts, shape: Shape) -> Groove:
        course = self._read.course
        feel = facts.genre.feel
        if self._read.feel_role in {None, shape.role}:
            feel = Feel.HALF_TIME if "half_time" in course else Feel.DOUBLE_TIME if "double_time" in course else feel
        if feel == Feel.UNSPECIFIED and shape.role in HEAVY_ROLES and is_heavy(facts.genre):
            feel = Feel.HALF_TIME
        return Groove(name=facts.genre.groove, swing=facts.genre.swing, feel=feel)

    # Texts.

    def _style(self, facts: Facts) -> str:
        return clip(self._prompt, MAX_STYLE_BYTES) or f"{facts.genre.name} music"

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

    def _title(self) -> str:
        given = clean(self._brief.title)
        if given:
            return given
        if self._proposal.title:
            self._ledger.note("title", self._proposal.title, Origin.LANGUAGE_MODEL)
            return self._proposal.title
        clause = next((part for part in TITLE_END.split(self._prompt) if part.strip()), self._prompt)
        return " ".join(clause.split()[:8])


def _word(role: Role) -> str:
    return role.name.lower().replace("_", "-")


def _form_name(roles: Sequence[Role]) -> str:
    return clip(" ".join(_word(role) for role in roles), 200)


def seed_of(brief: Brief) -> int:
    """Return the brief's seed, or one drawn from everything else that it says."""
    if brief.seed is not None:
        return brief.seed
    content = codec.canonical_json(codec.to_message(brief, music_pb2.Brief()))
    return int.from_bytes(hashlib.sha256(b"segue/seed/" + content).digest()[:4], "big")
