"""The gRPC health service, with a list of all services and a useful message for unknown ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]


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
