"""Clients of the other roles, for gateway and conductor: channels, stubs, and routes to models."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

import grpc
import grpc.aio

from segue.analyzer.v1 import analyzer_pb2_grpc
from segue.mixer.v1 import mixer_pb2_grpc
from segue.planner.v1 import planner_pb2, planner_pb2_grpc
from segue.renderer.v1 import renderer_pb2, renderer_pb2_grpc
from segue_runtime import errors
from segue_runtime.errors import FieldViolation
from segue_runtime.rpc.addresses import is_unix
from segue_runtime.rpc.channels import connect
from segue_runtime.rpc.duplex import has_begun

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue_runtime.settings import PeersSettings

ASK_TIMEOUT_S: Final = 5.0
PLAN_TIMEOUT_S: Final = 30.0
NO_FIELDS: Final = MappingProxyType[str, str]({})


@dataclass(frozen=True)
class PeerAddresses:
    """The addresses of the inner roles."""

    planner: str
    renderers: tuple[str, ...]
    mixer: str
    analyzer: str


@dataclass(frozen=True)
class ModelRoute:
    """A model and the renderer that serves it."""

    profile: renderer_pb2.ModelProfile
    renderer: renderer_pb2_grpc.RendererServiceAsyncStub
    slots: int
    address: str
    """The renderer's address; empty if it is in this process."""


class Peers:
    """Channels and stubs of the inner roles."""

    def __init__(self, addresses: PeerAddresses, peers: PeersSettings) -> None:
        services = [
            planner_pb2.DESCRIPTOR.services_by_name["PlannerService"],
            renderer_pb2.DESCRIPTOR.services_by_name["RendererService"],
        ]
        self._channels = {
            address: connect(address, peers, services=services)
            for address in {addresses.planner, *addresses.renderers, addresses.mixer, addresses.analyzer}
        }
        # The generated classes serve both kinds of channel; only the stubs' types tell them apart.
        self._planner = cast(
            "planner_pb2_grpc.PlannerServiceAsyncStub",
            planner_pb2_grpc.PlannerServiceStub(self._channels[addresses.planner]),
        )
        self._renderers = {
            address: cast(
                "renderer_pb2_grpc.RendererServiceAsyncStub",
                renderer_pb2_grpc.RendererServiceStub(self._channels[address]),
            )
            for address in addresses.renderers
        }
        self.mixer = cast(
            "mixer_pb2_grpc.MixerServiceAsyncStub", mixer_pb2_grpc.MixerServiceStub(self._channels[addresses.mixer])
        )
        self.analyzer = cast(
            "analyzer_pb2_grpc.AnalyzerServiceAsyncStub",
            analyzer_pb2_grpc.AnalyzerServiceStub(self._channels[addresses.analyzer]),
        )

    async def close(self) -> None:
        """Close all channels."""
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    async def create_plan(self, request: planner_pb2.CreatePlanRequest) -> planner_pb2.CreatePlanResponse:
        """Let the planner make a plan."""
        try:
            return await self._planner.CreatePlan(request, timeout=PLAN_TIMEOUT_S)
        except grpc.RpcError as error:
            headers = cast("grpc.aio.AioRpcError", error).initial_metadata()
            raise errors.from_rpc_error(error, service="planner", begun=has_begun(headers)) from error

    async def statuses(self) -> Sequence[renderer_pb2.GetStatusResponse]:
        """Return the status of every renderer that answers."""
        return [status for _, status in await self._ask_statuses()]

    async def models(self) -> Sequence[renderer_pb2.ModelProfile]:
        """Return the profiles of all available models; NoRenderer if no renderer answers."""
        return [route.profile for route in await self.routes()]

    async def routes(self) -> Sequence[ModelRoute]:
        """Return a route to each available model; the first is the default. NoRenderer if no renderer answers."""
        answers = await self._ask_statuses()
        if not answers:
            raise errors.NoRenderer(
                "no renderer answers; is one running?", metadata={"service": "renderer"}, retry_after_s=2
            )
        found: dict[str, ModelRoute] = {}
        for address, status in answers:
            shown = "" if is_unix(address) else address
            for profile in status.models:
                route = ModelRoute(profile, self._renderers[address], max(1, status.slots), shown)
                found.setdefault(profile.model, route)
        return list(found.values())

    async def route(self, model: str) -> ModelRoute:
        """Return the route to a model (empty: the default); ModelNotFound lists the available models."""
        return (await self.routes_to([model]))[0]

    async def routes_to(self, models: Sequence[str], fields: Mapping[str, str] = NO_FIELDS) -> list[ModelRoute]:
        """Return the routes to models; ModelNotFound lists the available ones, and the field that names the model."""
        routes = await self.routes()
        by_name = {"": routes[0]} | {route.profile.model: route for route in routes}
        missing = next((model for model in models if model not in by_name), None)
        if missing is None:
            return [by_name[model] for model in models]
        names = ", ".join(route.profile.model for route in routes)
        text = f"no renderer serves the model {missing!r}; available: {names}"
        field = fields.get(missing, "")
        raise errors.ModelNotFound(
            f"{field}: {text}" if field else text,
            metadata={"model": missing, "models": names},
            violations=[FieldViolation(field, text, routes[0].profile.model)] if field else (),
        )

    async def _ask_statuses(self) -> list[tuple[str, renderer_pb2.GetStatusResponse]]:
        """Return the address and the status of every renderer that answers."""
        request = renderer_pb2.GetStatusRequest()
        answers = await asyncio.gather(
            *(stub.GetStatus(request, timeout=ASK_TIMEOUT_S) for stub in self._renderers.values()),
            return_exceptions=True,
        )
        found: list[tuple[str, renderer_pb2.GetStatusResponse]] = []
        for address, answer in zip(self._renderers, answers, strict=True):
            if isinstance(answer, renderer_pb2.GetStatusResponse):
                found.append((address, answer))
            elif not isinstance(answer, grpc.RpcError):
                raise answer
        return found
