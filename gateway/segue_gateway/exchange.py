"""A call to another role that streams both ways, with the error of whichever side failed first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


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
    try:
        async for response in call:
            yield response
    except grpc.RpcError as error:
        if failures:
            raise failures[0] from error
        raise errors.from_rpc_error(error, service=service) from error
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
