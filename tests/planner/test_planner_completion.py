"""A caller's own plan: given values stay, missing values are filled, wrong values are refused with a suggestion."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest
from tests.planner.planner_client import NANOSECONDS, assert_valid, origins

from segue.music.v1 import music_pb2
from segue.planner.v1 import planner_pb2
from segue_music import codec
from segue_music.elements import (
    Chord,
    ChordQuality,
    Key,
    Layer,
    LayerKind,
    Metre,
    Mode,
    TempoPoint,
)
from segue_music.plan import (
    Brief,
    Join,
    JoinKind,
    Neighbour,
    Origin,
    Plan,
    PlannedSection,
    Role,
    SectionSpec,
    Transition,
)
from segue_runtime import errors

if TYPE_CHECKING:
    from tests.planner.planner_client import PlannerClient

SKETCH = Plan(
    quarters_per_minute=100,
    metre=Metre(6, 8),
    key=Key("E", Mode.MINOR),
    sections=tuple(
        PlannedSection(SectionSpec(section_id=f"s{index}", role=role, bars=8))
        for index, role in enumerate((Role.INTRO, Role.VERSE, Role.CHORUS, Role.OUTRO))
    ),
)


def edited(plan: Plan, index: int, **changes: Any) -> Plan:
    sections = list(plan.sections)
    sections[index] = dataclasses.replace(sections[index], spec=dataclasses.replace(sections[index].spec, **changes))
    return dataclasses.replace(plan, digest="", sections=tuple(sections))


@pytest.fixture(scope="module")
def whole(planner: PlannerClient) -> Plan:
    return planner.plan(Brief(prompt="indie pop song, 120 bpm", duration_ns=120 * NANOSECONDS))


def test_a_sketch_of_a_plan_is_completed(planner: PlannerClient) -> None:
    plan = planner.complete(SKETCH)
    for placed in plan.sections:
        assert placed.spec.metre == SKETCH.metre
        assert placed.spec.key == SKETCH.key
        assert placed.spec.layers
    assert plan.frames == 4 * 8 * 3 * 60 * 48_000 // 100
    assert_valid(dataclasses.replace(plan, readings=planner.plan(Brief(prompt="x")).readings))


def test_completing_twice_changes_nothing(planner: PlannerClient) -> None:
    plan = planner.complete(SKETCH)
    assert planner.complete(plan) == plan


def test_given_values_stay(planner: PlannerClient) -> None:
    chords = (Chord("A", ChordQuality.MINOR, 0, 4 * 2880), Chord("B", ChordQuality.DOMINANT_SEVENTH, 11520, 4 * 2880))
    layers = (Layer(LayerKind.LEAD, ("kazoo",), 0.31),)
    given = edited(
        SKETCH, 1, chords=chords, layers=layers, label="My verse", energy=(0.11,) * 8, transition=Transition.STOP,
        key=Key("A", Mode.DORIAN), tempo_points=(TempoPoint(0, 90.0), TempoPoint(2880, 95.0)), target_lufs=-19.0,
        prompt="only kazoo", negative_prompt="drums",
    )  # fmt: skip
    join = Join(JoinKind.CROSSFADE, 2.5)
    sections = list(given.sections)
    sections[2] = dataclasses.replace(sections[2], join=join, waits_for=("s0",))
    given = dataclasses.replace(given, sections=tuple(sections), title="Mine", seed=9)
    plan = planner.complete(given)
    before, after = given.sections[1].spec, plan.sections[1].spec
    for field in dataclasses.fields(SectionSpec):
        value = getattr(before, field.name)
        if value:
            assert getattr(after, field.name) == value, field.name
    assert (plan.title, plan.seed) == ("Mine", 9)
    assert (plan.sections[2].join, plan.sections[2].waits_for) == (join, ("s0",))


def test_an_exported_plan_can_be_edited_as_json_and_completed(planner: PlannerClient, whole: Plan) -> None:
    text = codec.plan_to_json(whole)
    read = codec.plan_from_json(text)
    assert planner.complete(read) == whole
    shorter = dataclasses.replace(read, digest="", frames=0, sections=read.sections[:-1])
    again = planner.complete(dataclasses.replace(shorter, sections=tuple(_loose(item) for item in shorter.sections)))
    assert [item.spec.section_id for item in again.sections] == [item.spec.section_id for item in whole.sections[:-1]]
    assert again.digest != whole.digest


def _loose(item: PlannedSection) -> PlannedSection:
    return dataclasses.replace(item, first_frame=0, first_bar=0)


def test_a_wrong_digest_is_refused(planner: PlannerClient, whole: Plan) -> None:
    error = planner.refused_plan(dataclasses.replace(whole, title="Another"))
    assert error.violations[0].field == "plan.digest"


@pytest.mark.parametrize("signed", [False, True])
def test_a_plan_with_a_digest_keeps_its_sections_neighbours(planner: PlannerClient, whole: Plan, signed: bool) -> None:
    cut = dataclasses.replace(
        whole,
        digest="",
        frames=0,
        sections=tuple(_loose(item) for item in (*whole.sections[:2], *whole.sections[3:])),
    )
    if signed:
        placed = planner.complete(cut).sections
        specs = [item.spec for item in cut.sections]
        sections = tuple(dataclasses.replace(item, spec=spec) for item, spec in zip(placed, specs, strict=True))
        cut = dataclasses.replace(cut, sections=sections, frames=planner.complete(cut).frames)
        cut = dataclasses.replace(cut, digest=codec.plan_digest(cut))
    found = planner.complete(cut)
    assert (found.sections[2].spec == whole.sections[3].spec) is signed
    assert found.sections[2].spec.previous == (whole.sections[3].spec.previous if signed else _border(found, 1))
    assert planner.complete(found) == found


def _border(plan: Plan, index: int) -> Neighbour:
    spec = plan.sections[index].spec
    return Neighbour(spec.role, spec.chords[-1], spec.energy[-1])


BROKEN: list[tuple[str, str, dict[str, Any]]] = [
    ("frames", "plan.sections[1].spec.frames", {"frames": 12_345}),
    ("energy", "plan.sections[1].spec.energy", {"energy": (0.5,)}),
    ("rate", "plan.sections[1].spec.sample_rate", {"sample_rate": 44_100}),
    ("tail", "plan.sections[1].spec.tail_frames", {"tail_frames": 5}),
    ("layers", "plan.sections[1].spec.layers[1].kind", {"layers": (Layer(LayerKind.BASS), Layer(LayerKind.BASS))}),
    ("gap", "plan.sections[1].spec.chords[0].start_tick", {"chords": (Chord("C", ChordQuality.MAJOR, 10, 100),)}),
    ("short", "plan.sections[1].spec.chords[0].ticks", {"chords": (Chord("C", ChordQuality.MAJOR, 0, 100),)}),
    ("points", "plan.sections[1].spec.tempo_points[0].start_tick", {"tempo_points": (TempoPoint(5, 90.0),)}),
    (
        "late",
        "plan.sections[1].spec.tempo_points[1].start_tick",
        {"tempo_points": (TempoPoint(0, 90.0), TempoPoint(10**7, 80.0))},
    ),
    ("genre", "plan.sections[1].spec.genre", {"genre": "polkacore"}),
    ("id", "plan.sections[1].spec.section_id", {"section_id": "s0"}),
    ("bars", "plan.sections[1].spec.bars", {"bars": 0}),
]


@pytest.mark.parametrize(("path", "changes"), [item[1:] for item in BROKEN], ids=[item[0] for item in BROKEN])
def test_a_contradiction_is_refused_with_its_path(planner: PlannerClient, path: str, changes: dict[str, Any]) -> None:
    error = planner.refused_plan(edited(SKETCH, 1, **changes))
    assert path in [violation.field for violation in error.violations], error.violations
    assert path in str(error)


@pytest.mark.parametrize("changes", [item[2] for item in BROKEN], ids=[item[0] for item in BROKEN])
def test_following_every_suggestion_gives_a_plan(planner: PlannerClient, changes: dict[str, Any]) -> None:
    plan = codec.plan_to_message(edited(SKETCH, 1, **changes))
    for _ in range(4):
        try:
            answer = planner.ask(planner_pb2.CreatePlanRequest(brief=music_pb2.Brief(), plan=plan))
        except grpc.aio.AioRpcError as refused:
            for violation in errors.from_rpc_error(refused).violations:
                assert violation.suggestion, violation
                follow(plan, violation)
        else:
            assert answer.plan.digest
            return
    pytest.fail("the suggestions lead nowhere")


def follow(plan: music_pb2.Plan, violation: errors.FieldViolation) -> None:
    """Apply the suggestion of a violation."""
    *parents, last = violation.field.removeprefix("plan.").split(".")
    place: Any = plan
    for name in parents:
        field, _, index = name.rstrip("]").partition("[")
        place = getattr(place, field)[int(index)] if index else getattr(place, field)
    if violation.suggestion.startswith("leave"):
        place.ClearField(last)
        return
    field = place.DESCRIPTOR.fields_by_name[last]
    if field.enum_type is not None:
        number = next(each.number for each in field.enum_type.values if each.name.endswith(violation.suggestion))
        setattr(place, last, number)
    else:
        setattr(place, last, type(getattr(place, last))(violation.suggestion))


@pytest.mark.parametrize(
    ("changes", "path", "suggestion"),
    [
        ({"quarters_per_minute": 90.0}, "plan.quarters_per_minute", "120"),
        ({"metre": Metre(3, 4)}, "plan.metre", "4/4"),
        ({"key": Key("Cb", Mode.LOCRIAN)}, "plan.key", ""),
    ],
    ids=["tempo", "metre", "key"],
)
def test_an_edit_that_forgets_the_sections_is_refused(
    planner: PlannerClient, whole: Plan, changes: dict[str, Any], path: str, suggestion: str
) -> None:
    error = planner.refused_plan(dataclasses.replace(whole, digest="", **changes))
    assert error.violations[0].field == path
    assert "sections" in error.violations[0].description
    assert suggestion in error.violations[0].suggestion


def test_origins_are_correct_after_an_edit(planner: PlannerClient, whole: Plan) -> None:
    assert origins(planner.complete(SKETCH)) == {
        "seed": Origin.DEFAULT, "duration": Origin.DEFAULT, "genre": Origin.DEFAULT, "tempo": Origin.CALLER,
        "key": Origin.CALLER, "metre": Origin.CALLER, "form": Origin.CALLER,
    }  # fmt: skip
    assert origins(whole)["tempo"] == Origin.PROMPT
    slower = edited(whole, 0)
    slower = dataclasses.replace(
        slower,
        frames=0,
        quarters_per_minute=100.0,
        sections=tuple(
            PlannedSection(dataclasses.replace(item.spec, tempo_points=(), frames=0)) for item in slower.sections
        ),
    )
    plan = planner.complete(slower)
    tempo = next(reading for reading in plan.readings if reading.field == "tempo")
    assert (tempo.value, tempo.origin, tempo.words) == ("100 bpm", Origin.CALLER, "")
    assert origins(plan)["genre"] == Origin.PROMPT


AGREES: list[tuple[Brief, str]] = [
    (Brief(duration_ns=7 * NANOSECONDS), "brief.duration"),
    (Brief(quarters_per_minute=77), "brief.quarters_per_minute"),
    (Brief(metre=Metre(4, 4)), "brief.metre"),
    (Brief(key=Key("C", Mode.MAJOR)), "brief.key"),
    (Brief(genre="jazz"), "brief.genre"),
    (Brief(form=(Role.VERSE,)), "brief.form"),
    (Brief(include_layers=(LayerKind.VOCALS,)), "brief.include_layers"),
    (Brief(exclude_layers=(LayerKind.BASS,)), "brief.exclude_layers"),
    (Brief(instruments=("kazoo",)), "brief.instruments"),
]


@pytest.mark.parametrize(("brief", "path"), AGREES, ids=[path for _, path in AGREES])
def test_a_field_beside_a_plan_must_agree_with_it(planner: PlannerClient, brief: Brief, path: str) -> None:
    plan = codec.plan_to_message(dataclasses.replace(SKETCH, genre="lofi"))
    error = planner.refused(planner_pb2.CreatePlanRequest(brief=codec.to_message(brief, music_pb2.Brief()), plan=plan))
    assert [violation.field for violation in error.violations] == [path]


def test_a_prompt_beside_a_plan_gives_genre_and_style(planner: PlannerClient) -> None:
    brief = music_pb2.Brief(prompt="dusty bossa nova", seed=5, negative_prompt="drums", quarters_per_minute=100)
    answer = planner.ask(planner_pb2.CreatePlanRequest(brief=brief, plan=codec.plan_to_message(SKETCH)))
    plan = codec.plan_from_message(answer.plan)
    assert (plan.genre, plan.seed) == ("bossa", 5)
    assert all(item.spec.prompt.startswith("dusty bossa nova. ") for item in plan.sections)
    assert all(item.spec.negative_prompt == "drums" for item in plan.sections)


def test_all_violations_are_reported_at_once(planner: PlannerClient) -> None:
    plan = edited(edited(SKETCH, 0, energy=(0.1,)), 2, frames=7)
    error = planner.refused_plan(plan)
    assert isinstance(error, errors.InvalidPlan)
    assert {violation.field for violation in error.violations} == {
        "plan.sections[0].spec.energy", "plan.sections[2].spec.frames",
    }  # fmt: skip
    assert all(violation.suggestion for violation in error.violations if violation.field.endswith("frames"))


@pytest.mark.parametrize("waits_for", ["s2", "s1", "nobody"])
def test_a_section_waits_only_for_earlier_ones(planner: PlannerClient, waits_for: str) -> None:
    sections = list(SKETCH.sections)
    sections[1] = dataclasses.replace(sections[1], waits_for=(waits_for,))
    error = planner.refused_plan(dataclasses.replace(SKETCH, sections=tuple(sections)))
    assert error.violations[0].field == "plan.sections[1].waits_for[0]"
    assert error.violations[0].suggestion == "s0"


def test_a_wrong_total_is_refused(planner: PlannerClient) -> None:
    error = planner.refused_plan(dataclasses.replace(SKETCH, frames=99))
    assert error.violations[0].field == "plan.frames"
    assert error.violations[0].suggestion == str(planner.complete(SKETCH).frames)


def test_a_piece_over_half_an_hour_is_refused(planner: PlannerClient) -> None:
    error = planner.refused_plan(edited(edited(SKETCH, 0, bars=2000), 1, bars=2000))
    assert error.violations[0].field == "plan.sections"
