"""MixerService: the mixer's edge. Proto types stop here and in `wire`."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from segue.mixer.v1 import mixer_pb2_grpc
from segue_mixer import mastering_edge, mixing_edge
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    import grpc.aio

    from segue.mixer.v1 import mixer_pb2

    Context = grpc.aio.ServicerContext[Any, Any]

SERVICE: Final = "segue.mixer.v1.MixerService"
READ_ON_S: Final = 2.0
Request = TypeVar("Request")
Response = TypeVar("Response")


class MixerService(mixer_pb2_grpc.MixerServiceServicer):
    """Joins sections and masters pieces; keeps nothing between calls."""

    async def Mix(
        self, request_iterator: AsyncIterator[mixer_pb2.MixRequest], context: Context
    ) -> AsyncIterator[mixer_pb2.MixResponse]:
        """Join sections into the draft."""
        async with aclosing(_told(request_iterator, mixing_edge.mix)) as responses:
            async for response in responses:
                yield response

    async def Master(
        self, request_iterator: AsyncIterator[mixer_pb2.MasterRequest], context: Context
    ) -> AsyncIterator[mixer_pb2.MasterResponse]:
        """Run one pass of the master."""
        async with aclosing(_told(request_iterator, mastering_edge.master)) as responses:
            async for response in responses:
                yield response


async def _told(
    requests: AsyncIterator[Request], answer: Callable[[AsyncIterator[Request]], AsyncGenerator[Response, None]]
) -> AsyncGenerator[Response, None]:
    """Answer a stream; when it is refused, read on for a moment before the refusal is sent.

    A grpc.aio client whose next message meets a stream that has ended reports INTERNAL instead of what it was told.
    """
    messages = requests.__aiter__()
    try:
        async with aclosing(answer(messages)) as responses:
            async for response in responses:
                yield response
    except errors.SegueError:
        with suppress(TimeoutError, errors.SegueError):
            async with asyncio.timeout(READ_ON_S):
                async for _ in messages:
                    pass
        raise


def warm() -> None:
    """Do the slow first imports and fill the tables, so that no call waits for them."""
    mastering_edge.warm()
