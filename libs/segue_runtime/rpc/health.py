"""grpc.health.v1 as people ask it: a list of all services, and an answer with words for one that is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]


class Health(HealthServicer):  # type: ignore[misc]  # the library has no types
    """The library's servicer has no List, and says nothing but NOT_FOUND of a name that it does not know."""

    async def Check(self, request: Any, context: Context) -> Any:  # noqa: N802 - the contract's name
        """Say how one service is; the empty name is the process."""
        status = self._server_status.get(request.service)
        if status is None:
            there = ", ".join(sorted(filter(None, self._server_status)))
            await context.abort(grpc.StatusCode.NOT_FOUND, f"{request.service!r} is not here; there are: {there}")
        return health_pb2.HealthCheckResponse(status=status)

    async def List(self, _request: Any, _context: Context) -> Any:  # noqa: N802
        """Say how all services are."""
        # Generated code that is older than this method of the contract never calls it.
        answer: Any = cast("Any", health_pb2).HealthListResponse()  # the stubs are older
        for service, status in self._server_status.items():
            answer.statuses[service].status = status
        return answer
