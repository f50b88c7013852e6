"""The request that gateway and conductor send to the planner for a composition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue.planner.v1 import planner_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from segue.composer.v1.spec_pb2 import CompositionSpec
    from segue.renderer.v1.renderer_pb2 import ModelProfile


def plan_request(
    spec: CompositionSpec, profiles: Iterable[ModelProfile], prompted_sections: Iterable[str] = ()
) -> planner_pb2.CreatePlanRequest:
    """Return the planner's request for a spec and the models that will render it, the piece's own first.

    `prompted_sections` have a new prompt, which the planner reads for models that read none.
    """
    return planner_pb2.CreatePlanRequest(
        brief=spec.brief,
        plan=spec.plan if spec.HasField("plan") else None,
        profiles=profiles,
        prompted_sections=prompted_sections,
    )
