"""Calls to other roles that stream in both directions, with the error of the side that failed first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio

from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Coroutine

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
    try:
        async for response in call:
            yield response
    except grpc.RpcError as error:
        if failures:
            raise failures[0] from error
        raise errors.from_rpc_error(ended.error or error, service=service) from error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        if failures:
            raise failures[0] from None
        raise errors.ServiceUnreachable(
            f"the call to the {service} failed",
            metadata={"service": service, "grpcCode": grpc.StatusCode.CANCELLED.name},
        ) from None
    finally:
        call.cancel()
    if failures:
        raise failures[0]


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
