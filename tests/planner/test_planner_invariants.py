"""The invariants of every plan: exact lengths, whole bars, recorded origins, equal answers to equal briefs."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.planner_client import NANOSECONDS, PlannerClient, assert_valid, origins

from segue_music.elements import Key, LayerKind, Metre, Mode
from segue_music.plan import Brief, Kind, Origin, Role
from segue_runtime import errors

GENRES = ("", "lofi", "jazz", "techno", "classical", "ambient")
PROMPTS = (
    "calm piano", "rainy lo-fi, 82 bpm, F minor", "waltz for two, no drums", "fast techno loop", "90s of jazz in 5/4",
    "épopée sombre", "a very slow drone in D dorian, ten minutes", "rock with a saxophone solo", "1", "🎹🎹",
)  # fmt: skip

keys = st.builds(
    Key,
    tonic=st.sampled_from(["C", "F#", "Bb", "E", "Cb", "B#"]),
    mode=st.sampled_from([mode for mode in Mode if mode]),
)
metres = st.builds(Metre, beats=st.integers(1, 16), unit=st.sampled_from([2, 4, 8]))
briefs = st.builds(
    Brief,
    prompt=st.sampled_from(PROMPTS),
    kind=st.sampled_from(Kind),
    duration_ns=st.none() | st.integers(NANOSECONDS, 1800 * NANOSECONDS),
    quarters_per_minute=st.none() | st.floats(20, 400),
    metre=st.none() | metres,
    key=st.none() | keys,
    genre=st.sampled_from(GENRES),
    form=st.lists(st.sampled_from([role for role in Role if role]), max_size=6).map(tuple),
    include_layers=st.lists(st.sampled_from(list(LayerKind)[1:]), max_size=2, unique=True).map(tuple),
    instruments=st.lists(st.sampled_from(["cello", "kazoo", "drums", "rhodes"]), max_size=3, unique=True).map(tuple),
    seed=st.none() | st.integers(0, 2**32 - 1),
    sample_rate=st.sampled_from([0, 22_050, 44_100, 48_000, 96_000]),
)


@settings(max_examples=150, deadline=None)
@given(brief=briefs)
def test_every_brief_gives_a_valid_plan_or_names_a_possible_length(planner: PlannerClient, brief: Brief) -> None:
    plan = planner.attempt(brief)
    if isinstance(plan, errors.SegueError):
        assert isinstance(plan, errors.LengthNotPossible | errors.InvalidField), plan
        assert "longer" in plan.metadata or plan.violations
        return
    assert_valid(plan)
    rate = brief.sample_rate or 48_000
    if brief.duration_ns is not None:
        assert plan.frames == (brief.duration_ns * rate + NANOSECONDS // 2) // NANOSECONDS
    if brief.quarters_per_minute is not None:
        assert plan.quarters_per_minute == brief.quarters_per_minute
    if brief.metre is not None:
        assert plan.metre == brief.metre
    if brief.key is not None:
        assert plan.key == brief.key
    if brief.form:
        assert tuple(placed.spec.role for placed in plan.sections) == brief.form
    for field, given_value in {
        "tempo": brief.quarters_per_minute, "metre": brief.metre, "key": brief.key, "duration": brief.duration_ns,
        "genre": brief.genre or None, "seed": brief.seed, "form": brief.form or None,
    }.items():  # fmt: skip
        assert (origins(plan)[field] == Origin.CALLER) == (given_value is not None), field
    assert set(brief.include_layers) <= {layer.kind for item in plan.sections for layer in item.spec.layers}


@settings(max_examples=60, deadline=None)
@given(brief=briefs.filter(lambda brief: not brief.form))
def test_the_same_brief_gives_the_same_plan_and_completing_a_plan_changes_nothing(
    planner: PlannerClient, brief: Brief
) -> None:
    plan = planner.attempt(brief)
    if isinstance(plan, errors.SegueError):
        return
    assert planner.plan(brief) == plan
    assert planner.complete(plan) == plan
