"""The estimate of a plan from the model's profile; it is outside the plan's digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.planner.planner_client import NANOSECONDS

from segue.music.v1 import music_pb2
from segue.planner.v1 import planner_pb2
from segue.renderer.v1 import renderer_pb2
from segue_music import codec
from segue_music.plan import Brief, Continuity, ModelProfile

if TYPE_CHECKING:
    from tests.planner.planner_client import PlannerClient

S = NANOSECONDS
BRIEF = Brief(prompt="rock, 120 bpm, 4/4", duration_ns=96 * S)


def profile(**changes: object) -> renderer_pb2.ModelProfile:
    return codec.to_message(ModelProfile(model="m", **changes), renderer_pb2.ModelProfile())  # type: ignore[arg-type] # keywords


def test_the_estimate_has_the_measured_speed_and_the_models_memory(planner: PlannerClient) -> None:
    answer = planner.answer(BRIEF, profile(real_time_factor=4.0, memory_bytes=7))
    assert answer.estimate.model == "m"
    assert answer.estimate.frames == 96 * 48_000
    assert answer.estimate.duration.ToNanoseconds() == 96 * S
    assert answer.estimate.render_time.ToNanoseconds() == pytest.approx(24 * S, abs=10)
    assert answer.estimate.memory_bytes == 7


def test_an_unmeasured_model_gives_no_time(planner: PlannerClient) -> None:
    answer = planner.answer(BRIEF, profile())
    assert not answer.estimate.HasField("render_time")
    assert not any(section.HasField("render_time") for section in answer.estimate.sections)


def test_windows_cover_each_section(planner: PlannerClient) -> None:
    answer = planner.answer(BRIEF, profile(window_ns=10 * S, stride_ns=6 * S))
    for section, placed in zip(answer.estimate.sections, answer.plan.sections, strict=True):
        length = (placed.spec.frames + placed.spec.tail_frames) / 48_000
        covered = 10 + 6 * (section.windows - 1)
        assert covered >= length
        assert section.windows == 1 or covered - 6 < length


def test_sections_wait_in_a_chain_for_a_model_that_continues_audio(planner: PlannerClient) -> None:
    tail = (Continuity.TAIL,)
    chained = planner.answer(BRIEF, profile(continuities=tail, real_time_factor=2.0))
    names = [placed.spec.section_id for placed in chained.plan.sections]
    assert [list(placed.waits_for) for placed in chained.plan.sections] == [[], *([name] for name in names[:-1])]
    free = planner.answer(BRIEF, profile(continuities=(Continuity.MOTIF,), real_time_factor=2.0))
    assert all(not placed.waits_for for placed in free.plan.sections)


def test_the_profile_speed_does_not_change_the_plan(planner: PlannerClient) -> None:
    slow, fast = (planner.answer(BRIEF, profile(real_time_factor=factor)) for factor in (1.0, 9.0))
    assert slow.plan == fast.plan


@pytest.mark.parametrize(
    ("field", "model"),
    [
        ("window", profile(window_ns=0)),
        ("window", profile(window_ns=-S)),
        ("stride", profile(window_ns=30 * S, stride_ns=1)),
        ("real_time_factor", profile(real_time_factor=1e-300)),
    ],
)
def test_a_profile_without_a_possible_estimate_is_refused(
    planner: PlannerClient, field: str, model: renderer_pb2.ModelProfile
) -> None:
    brief = codec.to_message(BRIEF, music_pb2.Brief())
    error = planner.refused(planner_pb2.CreatePlanRequest(brief=brief, profiles=[model]))
    assert [each.field for each in error.violations] == [f"profiles[0].{field}"]


def test_each_section_follows_its_own_model(planner: PlannerClient) -> None:
    """Joins, continuity and estimate of a plan whose middle section has another model."""
    band = profile(real_time_factor=4.0, memory_bytes=7, gives_notes=True, continuities=(Continuity.MOTIF,))
    other = renderer_pb2.ModelProfile()
    other.CopyFrom(profile(real_time_factor=2.0, memory_bytes=5, continuities=(Continuity.NONE,)))
    other.model = "other"
    plan = planner.answer(BRIEF, band).plan
    plan.digest = ""
    for item in plan.sections:
        item.ClearField("join")
        item.spec.ClearField("continuity")
    plan.sections[1].spec.model = "other"
    request = planner_pb2.CreatePlanRequest(brief=music_pb2.Brief(), plan=plan, profiles=[band, other])
    answer = planner.ask(request)
    kinds = [item.join.kind for item in answer.plan.sections[1:4]]
    assert kinds == [music_pb2.JOIN_KIND_CROSSFADE, music_pb2.JOIN_KIND_CROSSFADE, music_pb2.JOIN_KIND_HARD]
    continuities = [item.spec.continuity for item in answer.plan.sections[:3]]
    assert continuities == [music_pb2.CONTINUITY_MOTIF, music_pb2.CONTINUITY_NONE, music_pb2.CONTINUITY_MOTIF]
    seconds = [item.spec.frames / 48_000 for item in answer.plan.sections[:2]]
    times = [section.render_time.ToNanoseconds() / S for section in answer.estimate.sections[:2]]
    assert times == pytest.approx([seconds[0] / 4, seconds[1] / 2], abs=1e-6)
    assert (answer.estimate.model, answer.estimate.memory_bytes) == ("m", 12)


def test_a_section_longer_than_its_model_plays_is_refused(planner: PlannerClient) -> None:
    plan = planner.answer(BRIEF, profile()).plan
    request = planner_pb2.CreatePlanRequest(
        brief=music_pb2.Brief(), plan=plan, profiles=[profile(max_duration_ns=3 * S)]
    )
    violation = planner.refused(request).violations[0]
    assert (violation.field, "m plays 3 s at most" in violation.description) == ("plan.sections[0].spec.bars", True)


def test_a_section_shorter_than_the_models_window_takes_as_long_as_one(planner: PlannerClient) -> None:
    model = profile(real_time_factor=2.0, min_window_ns=12 * S)
    answer = planner.answer(BRIEF, model)
    lengths = [(item.spec.frames + item.spec.tail_frames) / 48_000 for item in answer.plan.sections]
    assert min(lengths) < 12 < max(lengths)
    times = [section.render_time.ToNanoseconds() / S for section in answer.estimate.sections]
    assert times == pytest.approx([max(12.0, length) / 2 for length in lengths], abs=1e-6)
    assert answer.estimate.render_time.ToNanoseconds() / S == pytest.approx(sum(times), abs=1e-6)
