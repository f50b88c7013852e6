"""The first section with a model whose audio comes at a section's end: listeners wait for all of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import pytest

from segue_music.elements import ChordQuality
from segue_music.plan import Brief, Kind, ModelProfile, Origin, Plan, Role
from segue_planner.form.request import ProposedSection
from segue_planner.language_model.proposal import Proposal
from segue_planner.planner import Planner

S = 1_000_000_000
STREAMS = ModelProfile(model="m", uses_prompt=True)
AT_END = replace(STREAMS, audio_at_end=True, min_window_ns=10 * S)
PROMPTS = ["rock", "slow ambient", "jazz waltz", "techno", "12 bar blues", "epic film music", "lo-fi, 70 bpm", "funk"]


def plan(brief: Brief, profile: ModelProfile) -> Plan:
    return Planner(brief, (profile,)).plan()


def first_s(piece: Plan) -> float:
    return piece.sections[0].spec.frames / piece.sample_rate


def roles(piece: Plan) -> list[Role]:
    """Return the roles in order, each run of equal ones once."""
    return [role for role, _ in groupby(item.spec.role for item in piece.sections)]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_first_section_is_short(prompt: str) -> None:
    for seconds in (25, 60, 150, 400):
        for seed in range(3):
            brief = Brief(prompt=prompt, duration_ns=seconds * S, seed=seed)
            usual, short = plan(brief, STREAMS), plan(brief, AT_END)
            assert first_s(short) <= 16.5
            assert short.frames == usual.frames == seconds * 48_000
            # The form stays; a long first section is two.
            assert roles(short) == roles(usual)
            assert len(short.sections) - len(usual.sections) in ({1} if first_s(usual) > 16.5 else {0, 1})


@pytest.mark.parametrize("longest_s", [None, 20])
def test_the_first_section_of_a_language_model_is_short_and_keeps_its_words_and_chords(longest_s: int | None) -> None:
    proposal = Proposal(
        sections=(
            ProposedSection(Role.VERSE, 16, ("i", "iv"), "soft keys"),
            ProposedSection(Role.CHORUS, 16, ("i", "V7"), "full band"),
        )
    )
    brief = Brief(prompt="sad pop, A minor, 100 bpm", duration_ns=77 * S)
    profile = replace(AT_END, max_duration_ns=longest_s and longest_s * S)
    usual, short = Planner(brief, (STREAMS,), None, proposal).plan(), Planner(brief, (profile,), None, proposal).plan()
    assert first_s(usual) > 30
    assert first_s(short) <= 16.5
    assert roles(short) == roles(usual) == [Role.VERSE, Role.CHORUS]
    assert any(each.field == "form" and each.origin == Origin.LANGUAGE_MODEL for each in short.readings)
    assert not short.warnings
    for item in short.sections:
        is_verse = item.spec.role == Role.VERSE
        assert ("soft keys" if is_verse else "full band") in item.spec.prompt
        found = {(chord.root, chord.quality) for chord in item.spec.chords}
        assert len(found) <= 3
        assert (("D", ChordQuality.MINOR) in found) == is_verse


def test_a_long_window_is_not_divided() -> None:
    brief = Brief(prompt="slow ambient", duration_ns=400 * S)
    assert first_s(plan(brief, STREAMS)) > 15.5
    assert first_s(plan(brief, replace(AT_END, min_window_ns=40 * S))) == first_s(plan(brief, STREAMS))


@pytest.mark.parametrize(
    "brief",
    [
        Brief(prompt="rock", duration_ns=120 * S, form=(Role.VERSE, Role.CHORUS)),
        Brief(prompt="rock: verse, chorus, verse, chorus", duration_ns=120 * S),
        Brief(prompt="rock with a long intro", duration_ns=400 * S),
        Brief(prompt="rock with a 16 bar intro, 100 bpm", duration_ns=240 * S),
        Brief(prompt="rock", duration_ns=30 * S, kind=Kind.LOOP),
    ],
)
def test_a_form_that_the_caller_asks_for_stays(brief: Brief) -> None:
    usual, short = plan(brief, STREAMS), plan(brief, AT_END)
    assert first_s(usual) > 15.5
    assert short.digest == usual.digest
