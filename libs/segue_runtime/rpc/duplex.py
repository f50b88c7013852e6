"""A call to another role that streams both ways, with the error of whichever side failed first."""

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


async def exchange(  # noqa: C901 - one branch for each way in which a call can end
    method: Any,
    requests: AsyncIterator[RequestT],
    *,
    service: str,
    timeout_s: float,
) -> AsyncGenerator[Any, None]:
    """Yield the answers. An error while the requests are made comes out as itself.

    grpc.aio would turn it into a cancelled call, and a cancelled call into CancelledError in whoever reads the
    answers: a task that nobody cancelled would end as if somebody had.
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
        raise errors.ServiceUnreachable(f"the call to the {service} broke", metadata={"service": service}) from None
    finally:
        call.cancel()
    if failures:
        raise failures[0]


class _FirstStatus:
    """The status that the other side gave, even if a write fails after it.

    Who refuses a stream early ends the call while messages are on their way. grpc.aio then puts INTERNAL in the place
    of the status that had come (grpc/grpc#36066).
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
    """Return what a coroutine gives that need not wait."""
    try:
        ready.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    ready.close()
    raise errors.InternalError("a call that is done has no status")
