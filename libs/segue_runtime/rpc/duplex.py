"""Calls to other roles that stream in both directions, with the error of the side that failed first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio

from segue_runtime import errors, scope

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable

RequestT = TypeVar("RequestT")
T = TypeVar("T")


async def exchange(  # noqa: C901 - one branch for each way a call can end
    method: Any,
    requests: AsyncIterator[RequestT],
    *,
    service: str,
    timeout_s: float,
) -> AsyncGenerator[Any, None]:
    """Yield the responses. An error in `requests` is raised unchanged.

    grpc.aio cancels the call instead, and raises CancelledError in the task that reads the responses, although that
    task was not cancelled.

    RoleLost is raised if the connection breaks after the role has begun with the call.
    """
    failures: list[Exception] = []

    async def sent() -> AsyncIterator[RequestT]:
        try:
            async for request in requests:
                yield request
        except Exception as error:
            failures.append(error)
            raise

    call = method(sent(), timeout=timeout_s)
    ended = _FirstStatus(call)
    answered = False
    try:
        async for response in call:
            answered = True
            yield response
    except grpc.RpcError as error:
        if failures:
            raise failures[0] from error
        begun = answered or has_begun(_headers_now(call))
        raise errors.from_rpc_error(ended.error or error, service=service, begun=begun) from error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        if failures:
            raise failures[0] from None
        kind = errors.RoleLost if answered or has_begun(_headers_now(call)) else errors.ServiceUnreachable
        raise kind(
            f"the call to the {service} failed",
            metadata={"service": service, "grpcCode": grpc.StatusCode.CANCELLED.name},
        ) from None
    finally:
        call.cancel()
    if failures:
        raise failures[0]


def has_begun(headers: Iterable[tuple[str, str | bytes]] | None) -> bool:
    """Tell whether headers come from a role: it sends the request id before its work; a proxy that refuses does not."""
    return any(key == scope.REQUEST_ID_KEY for key, _ in headers or ())


def _headers_now(call: Any) -> Iterable[tuple[str, str | bytes]]:
    """Return the headers that an ended call has received."""
    reading = call.initial_metadata()
    try:
        reading.send(None)
    except StopIteration as stop:
        headers: Iterable[tuple[str, str | bytes]] = stop.value
        return headers
    reading.close()  # none came
    return ()


class _FirstStatus:
    """Keeps the status that the peer sent, even if a write fails after it.

    A peer that refuses a stream early ends the call while messages are in flight. grpc.aio then replaces the received
    status by INTERNAL (grpc/grpc#36066).
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self.error: grpc.RpcError | None = None
        call.add_done_callback(self._note)

    def _note(self, _call: object) -> None:
        code = _result_now(self._call.code())
        if self.error is None and code is not grpc.StatusCode.OK:
            trailing = grpc.aio.Metadata(*_result_now(self._call.trailing_metadata()))
            details = _result_now(self._call.details())
            self.error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details=details)


def _result_now(ready: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that does not wait."""
    try:
        ready.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    ready.close()
    raise errors.InternalError("a finished call has no status")
