"""Makes a plan of a brief: reads it, decides facts, form and length, and has the sections written.

Pure: the same brief gives the same plan everywhere.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from typing import TYPE_CHECKING, Final

from segue.music.v1 import music_pb2
from segue_music import codec
from segue_music.plan import Brief, Kind, Origin, Plan, Role
from segue_planner.facts.decision_log import Ledger
from segue_planner.facts.resolver import Decider, Guess
from segue_planner.form.lengths import Fitter, Timed
from segue_planner.form.outline import FormWish, build_form
from segue_planner.language_model.proposal import Proposal, ProposedSection, woven
from segue_planner.parts import harmony
from segue_planner.parts.placement import place
from segue_planner.parts.section_writer import SectionWriter
from segue_planner.prompt.reader import read_prompt
from segue_planner.text import clean, clip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.plan import ModelProfile
    from segue_planner.prompt.prompt_facts import PromptReading

TITLE_END: Final = re.compile(r"[,.;:!?]\s")


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
        writer = SectionWriter(
            self._brief, self._read, self._profile, self._ledger,
            chance=self._chance, facts=facts, timed=timed, proposed=self._proposed,
        )  # fmt: skip
        specs = writer.specs()
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
