"""The renderer under test: its stub, the checked model, and one rendering that many checks look at."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc.aio

from segue.renderer.v1 import renderer_pb2
from segue_renderer.conformance import examples
from segue_renderer.conformance.outcome import CheckFailed, CheckSkipped, require
from segue_renderer.conformance.rendering import Rendering, collect
from segue_runtime import errors

if TYPE_CHECKING:
    from segue_music.plan import SectionSpec

STATUS_TIMEOUT_S = 10.0
IDLE_TRIES, IDLE_INTERVAL_S = 100, 0.05


class Target:
    """One model of one renderer. `open` reads its profile."""

    def __init__(
        self,
        stub: Any,
        status: renderer_pb2.GetStatusResponse,
        models: list[renderer_pb2.ModelProfile],
        profile: renderer_pb2.ModelProfile,
    ) -> None:
        self.stub = stub
        self.status = status
        self.models = models
        self.profile = profile
        self._base: Rendering | None = None

    @classmethod
    async def open(cls, stub: Any, model: str = "") -> Target:
        """Ask for status and models. ModelNotFound means that `model` is not listed."""
        status = await stub.GetStatus(renderer_pb2.GetStatusRequest(), timeout=STATUS_TIMEOUT_S)
        models = list((await stub.ListModels(renderer_pb2.ListModelsRequest(), timeout=STATUS_TIMEOUT_S)).models)
        profile = next((each for each in models if not model or each.model == model), None)
        if profile is None:
            names = ", ".join(each.model for each in models) or "none"
            raise errors.ModelNotFound(f"the renderer has no model {model!r}; its models are {names}")
        return cls(stub, status, models, profile)

    @property
    def sample_rate(self) -> int:
        """The model's rate; the timeline's if the model follows it."""
        return self.profile.sample_rate or examples.SAMPLE_RATE

    def start_of(self, spec: SectionSpec, **given: Any) -> renderer_pb2.RenderStart:
        """Return a start for the checked model."""
        return examples.start_of(spec, self.profile.model, **given)

    def call(self, start: renderer_pb2.RenderStart, *more: renderer_pb2.RenderSectionRequest) -> Any:
        """Begin a call."""
        return self.stub.RenderSection(examples.messages_of(start, *more))

    async def render(self, start: renderer_pb2.RenderStart, *more: renderer_pb2.RenderSectionRequest) -> Rendering:
        """Render a section to its end."""
        return await collect(self.call(start, *more), start)

    async def base(self) -> Rendering:
        """Return the rendering of the example section, with stems and notes where the profile has them."""
        if self._base is None:
            start = self.start_of(
                examples.section(), stems=bool(self.profile.layers), notes=bool(self.profile.gives_notes)
            )
            self._base = await self.render(start)
        return self._base

    async def busy(self) -> renderer_pb2.GetStatusResponse:
        """Return the present status."""
        status: renderer_pb2.GetStatusResponse = await self.stub.GetStatus(
            renderer_pb2.GetStatusRequest(), timeout=STATUS_TIMEOUT_S
        )
        return status

    def slots_of(self, status: renderer_pb2.GetStatusResponse) -> tuple[int, int]:
        """Return the slots of the checked model, and how many are busy. Models without states share all slots."""
        for each in status.model_statuses:
            if each.model == self.profile.model:
                return each.slots, each.busy_slots
        return status.slots, status.busy_slots

    async def require_idle(self) -> None:
        """Skip the check if other callers use the renderer."""
        for _ in range(IDLE_TRIES):
            status = await self.busy()
            if not (status.busy_slots or status.queued):
                return
            await asyncio.sleep(IDLE_INTERVAL_S)
        raise CheckSkipped("other calls use the renderer now")

    async def require_refusal(self, call: Any, code: grpc.StatusCode, *reasons: str) -> str:
        """Fail the check unless a call is refused with the code and one of the reasons."""
        try:
            async for _ in call:
                pass
        except grpc.aio.AioRpcError as error:
            refusal = errors.from_rpc_error(error)
            require(
                refusal.code is code and refusal.reason in reasons,
                f"refused with {refusal.code.name} {refusal.reason or 'without a reason'}; "
                f"the contract has {code.name} {' or '.join(reasons)}",
            )
            require(refusal.message, "the refusal has no message")
            return refusal.reason
        raise CheckFailed(f"rendered; the contract has {code.name} {' or '.join(reasons)}")
