"""PlannerService: the planner's edge. Proto types stop here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from segue.planner.v1 import planner_pb2, planner_pb2_grpc
from segue_music import codec
from segue_music.plan import Brief, ModelProfile
from segue_planner.completion import complete
from segue_planner.estimate import Estimate, estimate
from segue_planner.language_model.client import Proposer, make_proposer
from segue_planner.planner import Planner, seed_of
from segue_planner.prompt.reader import read_prompt
from segue_planner.text import clean
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc.aio

    from segue_music.plan import Plan

__all__ = ["SERVICE", "PlannerService", "make_proposer", "warm"]

SERVICE = "segue.planner.v1.PlannerService"
SPARE_S = 1.0
"""What is kept of a caller's time for the rules, when a language model is slow."""


def warm() -> None:
    """Make a plan before the first call: tables, phrases and patterns are read and built at their first use."""
    Planner(Brief(prompt="calm piano in F minor, 82 bpm, 3/4, 30 seconds, no drums")).plan()


class PlannerService(planner_pb2_grpc.PlannerServiceServicer):
    """Plans; of a language model, when there is one, it remembers the latest answers.

    Plans are made in a thread: one of half an hour in short bars takes a third of a second, and in the embedded shape
    everybody's streams wait for this loop.
    """

    def __init__(self, proposer: Proposer | None = None) -> None:
        self._proposer = proposer

    async def CreatePlan(
        self, request: planner_pb2.CreatePlanRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> planner_pb2.CreatePlanResponse:
        """Read the brief, or complete the caller's plan."""
        profiles = [codec.from_message(ModelProfile, profile) for profile in request.profiles]
        brief = codec.from_message(Brief, request.brief)
        if request.HasField("plan"):
            plan = await asyncio.to_thread(lambda: complete(codec.plan_from_message(request.plan), profiles, brief))
        elif not clean(brief.prompt):
            raise errors.InvalidField(
                "brief.prompt: it is empty; describe the music, or hand in a plan",
                violations=[FieldViolation("brief.prompt", "it is empty", "calm piano, 80 bpm")],
            )
        else:
            plan = await self._plan(brief, profiles, context)
        return await asyncio.to_thread(_response, plan, profiles)

    async def _plan(
        self, brief: Brief, profiles: Sequence[ModelProfile], context: grpc.aio.ServicerContext[Any, Any]
    ) -> Plan:
        plan = await asyncio.to_thread(lambda: Planner(brief, profiles).plan())
        if self._proposer is None:
            return plan
        # What the rules refuse was refused before anybody is asked.
        prompt = clean(brief.prompt)
        reading = read_prompt(prompt)
        left_s = context.time_remaining()
        proposal = await self._proposer.propose(
            prompt, brief, reading, seed_of(brief), None if left_s is None else left_s - SPARE_S
        )
        return await asyncio.to_thread(lambda: Planner(brief, profiles, reading, proposal).plan())


def _response(plan: Plan, profiles: Sequence[ModelProfile]) -> planner_pb2.CreatePlanResponse:
    found = _estimate_message(estimate(plan, profiles))
    return planner_pb2.CreatePlanResponse(plan=codec.plan_to_message(plan), estimate=found)


def _estimate_message(found: Estimate) -> planner_pb2.Estimate:
    message = planner_pb2.Estimate(model=found.model, frames=found.frames, memory_bytes=found.memory_bytes)
    message.duration.FromNanoseconds(found.duration_ns)
    if found.render_ns is not None:
        message.render_time.FromNanoseconds(found.render_ns)
    for section in found.sections:
        item = message.sections.add(section_id=section.section_id, windows=section.windows)
        if section.render_ns is not None:
            item.render_time.FromNanoseconds(section.render_ns)
    return message
