"""MixerService: the gRPC service of the mixer."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from segue.mixer.v1 import mixer_pb2_grpc
from segue_mixer.edge import master_stream, mix_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc.aio

    from segue.mixer.v1 import mixer_pb2

    Context = grpc.aio.ServicerContext[Any, Any]

SERVICE: Final = "segue.mixer.v1.MixerService"


class MixerService(mixer_pb2_grpc.MixerServiceServicer):
    """Joins sections and masters pieces; keeps no state between calls."""

    async def Mix(
        self, request_iterator: AsyncIterator[mixer_pb2.MixRequest], context: Context
    ) -> AsyncIterator[mixer_pb2.MixResponse]:
        """Join sections into the draft."""
        async with aclosing(mix_stream.mix(request_iterator)) as responses:
            async for response in responses:
                yield response

    async def Master(
        self, request_iterator: AsyncIterator[mixer_pb2.MasterRequest], context: Context
    ) -> AsyncIterator[mixer_pb2.MasterResponse]:
        """Run one pass of the master."""
        async with aclosing(master_stream.master(request_iterator)) as responses:
            async for response in responses:
                yield response


def warm() -> None:
    """Load slow imports and tables before the first call."""
    master_stream.warm()
