"""PlannerService over gRPC. Protobuf types stop here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from segue.planner.v1 import planner_pb2, planner_pb2_grpc
from segue_music import codec
from segue_music.plan import Brief, ModelProfile
from segue_planner.checks.model_checks import check_lengths
from segue_planner.completion import complete_plan
from segue_planner.estimate import PlanEstimate, estimate_plan
from segue_planner.genres.artists import Artists
from segue_planner.language_model.client import LanguageModel, make_language_model
from segue_planner.planner import Planner, seed_of
from segue_planner.prompt.reader import read_prompt
from segue_planner.text import clean
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc.aio

    from segue_music.plan import Plan

__all__ = ["SERVICE", "PlannerService", "make_language_model", "warm"]

SERVICE = "segue.planner.v1.PlannerService"
RESERVED_S = 1.0
"""The part of a caller's deadline that is reserved for the rules when a language model is slow."""


def warm() -> None:
    """Make a plan before the first call, because tables, phrases and patterns are loaded at their first use."""
    Planner(Brief(prompt="calm piano in F minor, 82 bpm, 3/4, 30 seconds, no drums")).plan()


class PlannerService(planner_pb2_grpc.PlannerServiceServicer):
    """Makes and completes plans, with a language model when there is one.

    Plans are made in a thread, because a plan of half an hour in short bars takes a third of a second. In the embedded
    mesh, every other stream would wait for it.
    """

    def __init__(self, language_model: LanguageModel | None = None, artists: Artists = Artists.READ) -> None:
        self._language_model, self._artists = language_model, artists

    async def CreatePlan(
        self, request: planner_pb2.CreatePlanRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> planner_pb2.CreatePlanResponse:
        """Make a plan from the brief, or complete the caller's plan."""
        profiles = [codec.from_message(ModelProfile, profile) for profile in request.profiles]
        brief = codec.from_message(Brief, request.brief)
        if request.HasField("plan"):
            plan = await asyncio.to_thread(
                lambda: complete_plan(codec.plan_from_message(request.plan), profiles, brief, request.prompted_sections)
            )
        elif not clean(brief.prompt):
            raise errors.InvalidField(
                "brief.prompt: it is empty; describe the music, or send a plan",
                violations=[FieldViolation("brief.prompt", "it is empty", "calm piano, 80 bpm")],
            )
        else:
            plan = await self._plan(brief, profiles, context)
        return await asyncio.to_thread(_response, plan, profiles)

    async def _plan(
        self, brief: Brief, profiles: Sequence[ModelProfile], context: grpc.aio.ServicerContext[Any, Any]
    ) -> Plan:
        plan = await asyncio.to_thread(lambda: Planner(brief, profiles, artists=self._artists).plan())
        if self._language_model is None:
            return plan
        # The rules have accepted the brief; only now is the language model asked.
        text = clean(brief.prompt)
        prompt = read_prompt(text)
        left_s = context.time_remaining()
        proposal = await self._language_model.propose(
            text, brief, prompt, seed_of(brief), None if left_s is None else left_s - RESERVED_S
        )
        return await asyncio.to_thread(lambda: Planner(brief, profiles, prompt, proposal, self._artists).plan())


def _response(plan: Plan, profiles: Sequence[ModelProfile]) -> planner_pb2.CreatePlanResponse:
    too_long = list(check_lengths([item.spec for item in plan.sections], profiles))
    if too_long:
        raise errors.InvalidPlan(f"{too_long[0].field}: {too_long[0].description}", violations=too_long)
    message = _estimate_message(estimate_plan(plan, profiles))
    return planner_pb2.CreatePlanResponse(plan=codec.plan_to_message(plan), estimate=message)


def _estimate_message(found: PlanEstimate) -> planner_pb2.Estimate:
    message = planner_pb2.Estimate(model=found.model, frames=found.frames, memory_bytes=found.memory_bytes)
    message.duration.FromNanoseconds(found.duration_ns)
    if found.render_ns is not None:
        message.render_time.FromNanoseconds(found.render_ns)
    for section in found.sections:
        item = message.sections.add(section_id=section.section_id, windows=section.windows)
        if section.render_ns is not None:
            item.render_time.FromNanoseconds(section.render_ns)
    return message
