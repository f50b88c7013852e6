"""A client of the planner for tests, and the invariants of every plan."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import grpc
import grpc.aio
import pytest

from segue.music.v1 import music_pb2
from segue.planner.v1 import planner_pb2, planner_pb2_grpc
from segue_music import codec, theory, timing
from segue_music.plan import Brief, Kind, Origin, Plan, SectionSpec
from segue_planner.planner import Planner
from segue_runtime import errors
from segue_runtime.rpc import validation

if TYPE_CHECKING:
    import asyncio

    from segue.renderer.v1 import renderer_pb2
    from segue_music.elements import LayerKind
    from segue_runtime.rpc import channels

NANOSECONDS = 1_000_000_000
MAX_MESSAGE_BYTES = 1 << 20


@dataclasses.dataclass
class PlannerClient:
    """Calls the planner over a real channel from synchronous functions, as hypothesis needs."""

    runner: asyncio.Runner
    channel: channels.Channel

    def ask(self, request: planner_pb2.CreatePlanRequest) -> planner_pb2.CreatePlanResponse:
        stub = cast("planner_pb2_grpc.PlannerServiceAsyncStub", planner_pb2_grpc.PlannerServiceStub(self.channel))

        async def call() -> planner_pb2.CreatePlanResponse:
            return await stub.CreatePlan(request, timeout=60)

        return self.runner.run(call())

    def answer(self, brief: Brief, *profiles: renderer_pb2.ModelProfile) -> planner_pb2.CreatePlanResponse:
        request = planner_pb2.CreatePlanRequest(
            brief=codec.to_message(brief, music_pb2.Brief()), profiles=list(profiles)
        )
        return self.ask(request)

    def plan(self, brief: Brief, *profiles: renderer_pb2.ModelProfile) -> Plan:
        return codec.plan_from_message(self.answer(brief, *profiles).plan)

    def attempt(self, brief: Brief, *profiles: renderer_pb2.ModelProfile) -> Plan | errors.SegueError:
        """Return the plan, or the error of a refusal; any status except INVALID_ARGUMENT fails the test."""
        try:
            return self.plan(brief, *profiles)
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error.details()  # noqa: PT017  a plan is allowed too
            return errors.from_rpc_error(error)

    def complete(self, plan: Plan, *profiles: renderer_pb2.ModelProfile) -> Plan:
        message = codec.plan_to_message(plan)
        request = planner_pb2.CreatePlanRequest(brief=music_pb2.Brief(), plan=message, profiles=list(profiles))
        return codec.plan_from_message(self.ask(request).plan)

    def refused(self, request: planner_pb2.CreatePlanRequest) -> errors.SegueError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            self.ask(request)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, caught.value.details()
        return errors.from_rpc_error(caught.value)

    def refused_brief(self, brief: Brief) -> errors.SegueError:
        return self.refused(planner_pb2.CreatePlanRequest(brief=codec.to_message(brief, music_pb2.Brief())))

    def refused_plan(self, plan: Plan) -> errors.SegueError:
        message = codec.plan_to_message(plan)
        return self.refused(planner_pb2.CreatePlanRequest(brief=music_pb2.Brief(), plan=message))


def assert_valid(plan: Plan) -> None:
    """Assert the invariants of every plan."""
    _assert_lengths(plan)
    _assert_sections(plan)
    _assert_origins(plan)
    assert plan.digest == codec.plan_digest(plan)
    assert plan.version == 1
    message = codec.plan_to_message(plan)
    validation.check(message)
    assert message.ByteSize() < MAX_MESSAGE_BYTES
    assert codec.plan_from_json(codec.plan_to_json(plan)) == plan


def _assert_lengths(plan: Plan) -> None:
    first_frame = first_bar = 0
    for index, placed in enumerate(plan.sections):
        spec = placed.spec
        assert (placed.first_frame, placed.first_bar) == (first_frame, first_bar)
        assert spec.metre is not None
        exact = timing.section_frames(spec.bars, spec.metre, spec.tempo_points, plan.sample_rate)
        assert abs(spec.frames - exact) <= 1, f"{spec.section_id} is not {spec.bars} whole bars"
        assert spec.tail_frames == 0 or index == len(plan.sections) - 1
        first_frame += spec.frames
        first_bar += spec.bars
    assert plan.frames == first_frame + plan.sections[-1].spec.tail_frames


def _assert_sections(plan: Plan) -> None:
    seen: set[str] = set()
    for index, placed in enumerate(plan.sections):
        spec = placed.spec
        assert spec.section_id not in seen
        assert set(placed.waits_for) <= seen
        seen.add(spec.section_id)
        assert spec.key
        assert spec.metre
        assert spec.groove
        assert spec.motif
        assert spec.label
        assert spec.sample_rate == plan.sample_rate
        assert len(spec.energy) == spec.bars
        assert all(0 <= energy <= 1 for energy in spec.energy)
        kinds = [layer.kind for layer in spec.layers]
        assert kinds
        assert len(kinds) == len(set(kinds))
        assert all(layer.level is None or 0 <= layer.level <= 1 for layer in spec.layers)
        assert spec.tempo_points[0].start_tick == 0
        ticks = spec.bars * timing.ticks_per_bar(spec.metre)
        assert all(early.start_tick < late.start_tick < ticks for early, late in pairwise(spec.tempo_points))
        assert all(20 <= point.quarters_per_minute <= 400 for point in spec.tempo_points)
        tick = 0
        for chord in spec.chords:
            assert chord.start_tick == tick
            assert chord.ticks > 0
            tick += chord.ticks
        assert tick == ticks, "chords fill every bar"
        before = plan.sections[index - 1].spec if index else None
        after = plan.sections[index + 1].spec if index + 1 < len(plan.sections) else None
        assert (spec.previous is None) == (before is None)
        assert (spec.next is None) == (after is None)
        if spec.previous and before:
            assert spec.previous.border_chord == before.chords[-1]
            assert spec.previous.energy == before.energy[-1]
        if spec.next and after:
            assert spec.next.border_chord == after.chords[0]
        assert spec.loop == (plan.kind == Kind.LOOP and len(plan.sections) == 1)


def _assert_origins(plan: Plan) -> None:
    fields = {reading.field for reading in plan.readings}
    missing = {"tempo", "key", "metre", "duration", "genre", "form", "seed"} - fields
    assert not missing, f"no origin for {missing}"
    for reading in plan.readings:
        assert reading.origin != Origin.UNSPECIFIED
        assert bool(reading.words) == (reading.origin in {Origin.PROMPT, Origin.NEGATIVE_PROMPT}), reading


def frames_of(seconds: float, rate: int) -> int:
    nanoseconds = round(seconds * NANOSECONDS)
    return (nanoseconds * rate + NANOSECONDS // 2) // NANOSECONDS


def origins(plan: Plan) -> dict[str, Origin]:
    """Return the origin of each field's last reading."""
    return {reading.field: reading.origin for reading in plan.readings}


def codes(plan: Plan) -> set[str]:
    return {warning.code for warning in plan.warnings}


def made(prompt: str, seconds: float | None = None, **fields: object) -> Plan:
    duration = None if seconds is None else round(seconds * NANOSECONDS)
    return Planner(Brief(prompt=prompt, duration_ns=duration, **fields)).plan()  # type: ignore[arg-type]  # keywords


def specs(plan: Plan) -> list[SectionSpec]:
    return [item.spec for item in plan.sections]


def mean(spec: SectionSpec) -> float:
    return sum(spec.energy) / len(spec.energy)


def kinds(spec: SectionSpec) -> set[LayerKind]:
    return {layer.kind for layer in spec.layers}


def fingerprint(spec: SectionSpec) -> tuple[object, ...]:
    return (spec.layers, spec.energy[0], [theory.chord_name(chord) for chord in spec.chords])
