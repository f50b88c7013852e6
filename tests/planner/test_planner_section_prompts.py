"""Negative prompts and prompts of single sections: what is read, what it does to the plan, and what is reported."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.planner.planner_client import assert_valid, codes, kinds, mean, specs

from segue.music.v1 import music_pb2
from segue.planner.v1 import planner_pb2
from segue.renderer.v1 import renderer_pb2
from segue_music import codec
from segue_music.elements import Feel, Key, Layer, LayerKind, Metre, Mode
from segue_music.plan import Brief, Origin, Plan, PlannedSection, Role, SectionSpec
from segue_music.timing import NANOSECONDS
from segue_planner.prompt.exclusions import read_negative_prompt
from segue_planner.prompt.section_prompt import read_section_prompt

if TYPE_CHECKING:
    from tests.planner.planner_client import PlannerClient

    from segue_planner.prompt.prompt_facts import PromptFacts

TABLE: dict[str, list[dict[str, Any]]] = tomllib.loads(
    (Path(__file__).parent / "section_prompts.toml").read_text(encoding="utf-8")
)
BAND = renderer_pb2.ModelProfile(
    model="band", gives_notes=True, continuities=[music_pb2.CONTINUITY_NONE, music_pb2.CONTINUITY_MOTIF]
)
TEXT = renderer_pb2.ModelProfile(
    model="text", uses_prompt=True, uses_negative_prompt=True, continuities=[music_pb2.CONTINUITY_NONE]
)
L = LayerKind
SKETCH = Plan(
    quarters_per_minute=100.0,
    metre=Metre(4, 4),
    key=Key("D", Mode.MINOR),
    genre="rock",
    sections=tuple(
        PlannedSection(SectionSpec(name, role, bars=4))
        for name, role in (("a", Role.VERSE), ("b", Role.CHORUS), ("c", Role.OUTRO))
    ),
)


def denials(facts: PromptFacts) -> list[str]:
    return sorted(
        [
            *(kind.name for kind in facts.without_layers),
            *facts.without_instruments,
            *(role.name.lower() for role in facts.without_roles),
        ]
    )


@pytest.mark.parametrize("row", TABLE["negative"], ids=[row["text"] for row in TABLE["negative"]])
def test_a_negative_prompt_is_read_as_the_table_says(row: dict[str, Any]) -> None:
    facts = read_negative_prompt(row["text"])
    found = {
        "without": denials(facts),
        "genres": list(facts.without_genres),
        "moods": list(facts.without_moods),
        "tempos": list(facts.without_tempos),
        "course": list(facts.without_course),
        "unread": facts.unread,
    }
    assert {name: value for name, value in found.items() if value} == {
        name: value for name, value in row.items() if name != "text"
    }


@pytest.mark.parametrize("row", TABLE["section"], ids=[row["text"] for row in TABLE["section"]])
def test_a_section_prompt_is_read_as_the_table_says(row: dict[str, Any]) -> None:
    facts = read_section_prompt(row["text"], Role.CHORUS)
    found = {
        "instruments": sorted(facts.players.instruments),
        "without": denials(facts.players),
        "only": bool(facts.players.only),
        "energy": facts.change and facts.change.value,
        "slope": facts.slope and facts.slope.value,
        "feel": facts.feel and facts.feel.value.name.lower(),
        "everyone": bool(facts.everyone),
        "unread": facts.unread,
    }
    assert {name: value for name, value in found.items() if value} == {
        name: value for name, value in row.items() if name != "text"
    }


# Negative prompts in a plan.


def test_a_negative_prompt_becomes_exclusions_with_their_origin(planner: PlannerClient) -> None:
    brief = Brief(prompt="rock, guitar and drums, 120 bpm", duration_ns=40 * NANOSECONDS, seed=1)
    plain = planner.plan(brief, BAND)
    plan = planner.plan(dataclasses.replace(brief, negative_prompt="drums, organ, sad, intro, low quality"), BAND)
    assert_valid(plan)
    assert any(L.RHYTHM in kinds(spec) for spec in specs(plain))
    assert not any(L.RHYTHM in kinds(spec) for spec in specs(plan))
    assert "organ" in str(plain.sections)
    assert "organ" not in str([layer.instruments for spec in specs(plan) for layer in spec.layers])
    assert Role.INTRO not in [spec.role for spec in specs(plan)]
    read = {(each.value, each.words) for each in plan.readings if each.origin == Origin.NEGATIVE_PROMPT}
    assert read == {("no rhythm", "drums"), ("no organ", "organ"), ("no sad", "sad"), ("no intro", "intro")}
    warnings = {each.code: each.text for each in plan.warnings}
    assert set(warnings) == {"prompt_contradiction", "negative_prompt_not_read"}
    assert "low quality" in warnings["negative_prompt_not_read"]
    assert all(spec.negative_prompt == "" for spec in specs(plan)), "the band has nothing more to read"


@pytest.mark.parametrize(
    ("prompt", "negative", "check"),
    [
        ("smooth jazz", "jazz", lambda plan: plan.genre != "jazz"),
        ("music", "lo-fi", lambda plan: plan.genre != "lofi"),
        ("music", "happy", lambda plan: plan.key.mode in {Mode.MINOR, Mode.DORIAN}),
        ("lo-fi", "mellow", lambda plan: "mellow" not in plan.moods),
        ("music in a sad mood", "sad", lambda plan: "sad" not in plan.moods),
        ("dubstep, 140 bpm, half time", "half time", lambda plan: feels(plan) == {Feel.UNSPECIFIED}),
        ("rock with a key change", "key change", lambda plan: {spec.key for spec in specs(plan)} == {plan.key}),
        ("rock, fade out", "fade out", lambda plan: plan.sections[-1].spec.energy[-1] > 0),
        ("house", "fast, upbeat", lambda plan: plan.quarters_per_minute < 120),
        ("lo-fi", "slow", lambda plan: plan.quarters_per_minute > 77),
    ],
)
def test_genres_moods_tempos_and_courses_can_be_excluded(
    planner: PlannerClient, prompt: str, negative: str, check: Any
) -> None:
    for seed in range(4):
        brief = Brief(prompt=prompt, negative_prompt=negative, duration_ns=60 * NANOSECONDS, seed=seed)
        plan = planner.plan(brief, BAND)
        assert check(plan)
        assert "negative_prompt_not_read" not in codes(plan)
        assert Origin.NEGATIVE_PROMPT in {each.origin for each in plan.readings}


def feels(plan: Plan) -> set[Feel]:
    return {spec.groove.feel for spec in specs(plan) if spec.groove}


def test_a_model_that_reads_negative_prompts_gets_the_text_and_no_warning(planner: PlannerClient) -> None:
    plan = planner.plan(Brief(prompt="rock, no drums", negative_prompt="low quality", seed=1), TEXT)
    assert {spec.negative_prompt for spec in specs(plan)} == {"low quality, drums"}
    assert not plan.warnings
    again = planner_pb2.CreatePlanRequest(
        brief=music_pb2.Brief(prompt="rock, no drums", negative_prompt="low quality"),
        plan=codec.plan_to_message(plan),
        profiles=[TEXT],
    )
    assert codec.plan_from_message(planner.ask(again).plan) == plan, "a plan can be handed in with its own brief"


def test_a_negative_prompt_beside_a_plan_fills_gaps_and_names_what_it_cannot_change(planner: PlannerClient) -> None:
    drums = (Layer(L.RHYTHM, ("drums",)), Layer(L.HARMONY, ("piano",)))
    message = codec.plan_to_message(edited(SKETCH, 1, layers=drums))
    brief = music_pb2.Brief(negative_prompt="drums, glitches")
    plan = codec.plan_from_message(
        planner.ask(planner_pb2.CreatePlanRequest(brief=brief, plan=message, profiles=[BAND])).plan
    )
    assert [L.RHYTHM in kinds(spec) for spec in specs(plan)] == [False, True, False]
    assert codes(plan) == {"negative_prompt_contradiction", "negative_prompt_not_read"}
    # The same plan again, now complete, repeats no warning.
    again = planner_pb2.CreatePlanRequest(brief=brief, plan=codec.plan_to_message(plan), profiles=[BAND])
    assert codec.plan_from_message(planner.ask(again).plan) == plan


def test_a_sections_own_negative_prompt_is_for_that_section(planner: PlannerClient) -> None:
    plan = planner.complete(edited(SKETCH, 1, negative_prompt="drums, jazz"), BAND)
    assert [L.RHYTHM in kinds(spec) for spec in specs(plan)] == [True, False, True]
    assert [(each.code, each.section_id) for each in plan.warnings] == [("negative_prompt_not_read", "b")]
    assert "jazz" in plan.warnings[0].text


# Section prompts.


def edited(plan: Plan, index: int, **fields: Any) -> Plan:
    sections = list(plan.sections)
    sections[index] = dataclasses.replace(sections[index], spec=dataclasses.replace(sections[index].spec, **fields))
    return dataclasses.replace(plan, sections=tuple(sections))


def reread(planner: PlannerClient, plan: Plan, *names: str, profile: renderer_pb2.ModelProfile = BAND) -> Plan:
    """Complete a plan in which these sections have a new prompt."""
    loose = dataclasses.replace(plan, digest="")
    request = planner_pb2.CreatePlanRequest(
        brief=music_pb2.Brief(), plan=codec.plan_to_message(loose), profiles=[profile], prompted_sections=names
    )
    return codec.plan_from_message(planner.ask(request).plan)


def test_only_violins_without_drums_are_that_sections_only_players(planner: PlannerClient) -> None:
    plain = planner.complete(SKETCH, BAND)
    plan = planner.complete(edited(SKETCH, 1, prompt="only violins, no drums"), BAND)
    assert_valid(dataclasses.replace(plan, readings=planner.plan(Brief(prompt="x")).readings))
    assert [layer.instruments for layer in plan.sections[1].spec.layers] == [("violin",)]
    assert [each.layers for each in specs(plan)[::2]] == [each.layers for each in specs(plain)[::2]]
    read = [(each.field, each.origin, each.words) for each in plan.readings if each.section_id == "b"]
    assert ("instrument", Origin.PROMPT, "violins") in read
    assert ("layers", Origin.PROMPT, "only violins") in read
    assert ("layers", Origin.PROMPT, "no drums") in read
    assert not plan.warnings
    assert plan.sections[1].spec.prompt == "only violins, no drums"


def test_half_time_and_huge_change_feel_and_energy(planner: PlannerClient) -> None:
    plain = specs(planner.complete(SKETCH, BAND))
    found = specs(planner.complete(edited(SKETCH, 0, prompt="half-time, huge"), BAND))
    assert found[0].groove
    assert found[0].groove.feel == Feel.HALF_TIME
    assert mean(found[0]) > mean(plain[0]) + 0.2
    assert (found[0].target_lufs or 0) > (plain[0].target_lufs or 0)
    assert [found[1].groove, found[1].energy, found[2].energy] == [plain[1].groove, plain[1].energy, plain[2].energy]


def test_values_that_a_section_states_win_over_its_prompt(planner: PlannerClient) -> None:
    layers = (Layer(L.HARMONY, ("piano",), 0.5),)
    given = edited(SKETCH, 1, prompt="huge, with brass, in F minor", layers=layers, energy=(0.3,) * 4)
    plan = planner.complete(given, BAND)
    assert plan.sections[1].spec.layers == layers
    assert plan.sections[1].spec.energy == (0.3,) * 4
    assert [(each.code, each.section_id) for each in plan.warnings] == [
        ("section_prompt_not_read", "b"), ("section_prompt_contradiction", "b"), ("section_prompt_contradiction", "b"),
    ]  # fmt: skip
    assert planner.complete(dataclasses.replace(plan, digest="", frames=0), BAND).warnings == plan.warnings


def test_a_new_prompt_changes_what_a_planned_section_states(planner: PlannerClient) -> None:
    plan = planner.plan(Brief(prompt="rock, 120 bpm, piano", duration_ns=60 * NANOSECONDS, seed=2), BAND)
    index = next(index for index, spec in enumerate(specs(plan)) if spec.role == Role.CHORUS)
    name = plan.sections[index].spec.section_id
    new = reread(planner, edited(plan, index, prompt="no drums, with a cello, quiet"), name)
    before, after = specs(plan)[index], specs(new)[index]
    assert kinds(after) == (kinds(before) | {L.BASS}) - {L.RHYTHM}
    assert "cello" in str(after.layers)
    assert mean(after) < mean(before)
    assert after.chords == before.chords
    others = [spec.section_id for spec in specs(plan) if spec.section_id != name]
    for other in others:
        now, then = (next(each for each in specs(each_plan) if each.section_id == other) for each_plan in (new, plan))
        assert dataclasses.replace(now, previous=None, next=None) == dataclasses.replace(then, previous=None, next=None)
    # Another prompt replaces the readings of the first one; a third completion reads nothing twice.
    third = reread(planner, edited(new, index, prompt="with a cowbell"), name)
    assert not [each for each in third.readings if each.section_id == name and "cello" in each.value]
    rung = reread(planner, edited(plan, index, prompt="add a cowbell"), name)
    rhythm = next(layer for layer in rung.sections[index].spec.layers if layer.kind == L.RHYTHM)
    assert rhythm.instruments == ("drums", "cowbell"), "a named drum joins the kit"
    assert reread(planner, third) == third


def test_a_model_that_reads_prompts_keeps_them_to_itself(planner: PlannerClient) -> None:
    plain = planner.complete(SKETCH, TEXT)
    for plan in (
        planner.complete(edited(SKETCH, 1, prompt="only violins, cheesy"), TEXT),
        reread(planner, edited(plain, 1, prompt="only violins, cheesy"), "b", profile=TEXT),
    ):
        assert [each.layers for each in specs(plan)] == [each.layers for each in specs(plain)]
        assert not plan.warnings


def test_prompts_that_the_planner_wrote_are_not_read_again(planner: PlannerClient) -> None:
    plan = planner.plan(Brief(prompt="loud rock, only violins, no drums", duration_ns=40 * NANOSECONDS), BAND)
    loose = dataclasses.replace(plan, digest="", readings=(), warnings=())
    again = planner.complete(edited(loose, 0, layers=()), BAND)
    assert L.RHYTHM in kinds(planner.complete(edited(loose, 1, layers=()), BAND).sections[1].spec)
    assert not again.warnings


# Models.


def test_sections_are_as_long_as_the_model_accepts(planner: PlannerClient) -> None:
    short = renderer_pb2.ModelProfile(model="short", continuities=[music_pb2.CONTINUITY_NONE])
    short.max_duration.seconds = 20
    for prompt in ("pop song, 100 bpm", "techno", "blues in 3/4", "drone, 10 bars"):
        plan = planner.plan(Brief(prompt=prompt, duration_ns=150 * NANOSECONDS, seed=3), short)
        assert_valid(plan)
        assert max(item.spec.frames + item.spec.tail_frames for item in plan.sections) <= 20 * plan.sample_rate
        assert len({item.spec.section_id for item in plan.sections}) == len(plan.sections)
    long = codec.plan_to_message(edited(SKETCH, 1, bars=9))
    error = planner.refused(planner_pb2.CreatePlanRequest(brief=music_pb2.Brief(), plan=long, profiles=[short]))
    assert [(each.field, each.suggestion) for each in error.violations] == [("plan.sections[1].spec.bars", "8")]


def test_an_unknown_mood_of_a_plan_is_named(planner: PlannerClient) -> None:
    plan = planner.complete(dataclasses.replace(SKETCH, moods=("sad", "umbrella")), BAND)
    assert [each.code for each in plan.warnings] == ["mood_unknown"]
    assert "umbrella" in plan.warnings[0].text
