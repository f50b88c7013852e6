"""PlannerService: the planner's edge. Proto types stop here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segue.planner.v1 import planner_pb2, planner_pb2_grpc
from segue_music import codec
from segue_music.plan import Brief, ModelProfile
from segue_planner.estimate import Estimate, estimate
from segue_planner.genres import genres
from segue_planner.given import complete
from segue_planner.planning import Planner
from segue_planner.text import clean
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    import grpc.aio

SERVICE = "segue.planner.v1.PlannerService"


def warm() -> None:
    """Read the tables before the first call needs them."""
    genres()


class PlannerService(planner_pb2_grpc.PlannerServiceServicer):
    """Plans; it keeps no state."""

    async def CreatePlan(
        self, request: planner_pb2.CreatePlanRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> planner_pb2.CreatePlanResponse:
        """Read the brief, or complete the caller's plan."""
        profiles = [codec.from_message(ModelProfile, profile) for profile in request.profiles]
        if request.HasField("plan"):
            plan = complete(codec.plan_from_message(request.plan), profiles, codec.from_message(Brief, request.brief))
        elif not clean(request.brief.prompt):
            raise errors.InvalidField(
                "brief.prompt: it is empty; describe the music, or hand in a plan",
                violations=[FieldViolation("brief.prompt", "it is empty", "calm piano, 80 bpm")],
            )
        else:
            plan = Planner(codec.from_message(Brief, request.brief), profiles).plan()
        return planner_pb2.CreatePlanResponse(
            plan=codec.plan_to_message(plan), estimate=_estimate_message(estimate(plan, profiles))
        )


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
