"""Clients of planner, mixer and analyzer, for gateway and conductor."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import grpc
import grpc.aio

from segue.analyzer.v1 import analyzer_pb2_grpc
from segue.mixer.v1 import mixer_pb2_grpc
from segue.planner.v1 import planner_pb2, planner_pb2_grpc
from segue_runtime import errors
from segue_runtime.rpc.channels import connect
from segue_runtime.rpc.duplex import has_begun

if TYPE_CHECKING:
    from segue_runtime.rpc.admission.role_tokens import RoleAccess

PLAN_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True)
class PeerAddresses:
    """The addresses of the inner roles, except those of renderers."""

    planner: str
    mixer: str
    analyzer: str


class Peers:
    """Channels and stubs of planner, mixer and analyzer."""

    def __init__(self, addresses: PeerAddresses, access: RoleAccess) -> None:
        services = [planner_pb2.DESCRIPTOR.services_by_name["PlannerService"]]
        self._channels = {
            address: connect(address, access, services=services)
            for address in {addresses.planner, addresses.mixer, addresses.analyzer}
        }
        # The generated classes serve both kinds of channel; only the stubs' types tell them apart.
        self._planner = cast(
            "planner_pb2_grpc.PlannerServiceAsyncStub",
            planner_pb2_grpc.PlannerServiceStub(self._channels[addresses.planner]),
        )
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
