"""The gRPC health service, with a list of all services and a useful message for unknown ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

from segue_runtime import logs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Context = grpc.aio.ServicerContext[Any, Any]

CHECK_EVERY_S = 1.0
CHECK_LIMIT_S = 10.0
FAILURES = 2
log = logs.get("health")


class Health(HealthServicer):  # type: ignore[misc]  # the library has no types
    """Adds `List` to the library's servicer, and names the known services when one is unknown."""

    async def Check(self, request: Any, context: Context) -> Any:  # noqa: N802 - the contract's name
        status = self._server_status.get(request.service)
        if status is None:
            there = ", ".join(sorted(filter(None, self._server_status)))
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service!r} here; there are: {there}")
        return health_pb2.HealthCheckResponse(status=status)

    async def List(self, _request: Any, _context: Context) -> Any:  # noqa: N802
        # Older generated code, which lacks the message, never calls this method.
        answer: Any = cast("Any", health_pb2).HealthListResponse()  # the stubs are older
        for service, status in self._server_status.items():
            answer.statuses[service].status = status
        return answer


class Readiness:
    """Calls the check of one service each second: NOT_SERVING after two failures, SERVING after a success."""

    def __init__(self, health: Health, name: str, check: Callable[[], Awaitable[object]]) -> None:
        self._health = health
        self._name = name
        self._check = check
        self._num_failures = 0

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            try:
                async with asyncio.timeout(CHECK_LIMIT_S):
                    await self._check()
            except Exception as error:  # noqa: BLE001 - a check that fails in any way is a failure of the service
                await self._failed(error)
            else:
                await self._succeeded()

    async def _failed(self, error: Exception) -> None:
        self._num_failures += 1
        if self._num_failures == FAILURES:
            log.error("not ready", service=self._name, reason=str(error) or type(error).__name__)
            await self._health.set(self._name, health_pb2.HealthCheckResponse.NOT_SERVING)

    async def _succeeded(self) -> None:
        if self._num_failures >= FAILURES:
            log.warning("ready again", service=self._name)
            await self._health.set(self._name, health_pb2.HealthCheckResponse.SERVING)
        self._num_failures = 0
