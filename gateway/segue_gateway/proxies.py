"""Analyze and Master for callers who reach the gateway only: their streams go through to the role that does the work.

The gateway adds what an inner role does not have: the caller is known. Backpressure goes through as well, since one
message is asked for only when the one before has been taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue.analyzer.v1 import analyzer_pb2_grpc
from segue.mixer.v1 import mixer_pb2_grpc
from segue_runtime import errors
from segue_runtime.rpc.duplex import exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue.analyzer.v1 import analyzer_pb2
    from segue.mixer.v1 import mixer_pb2
    from segue_composition.peers import Peers

ANALYZER: Final = "segue.analyzer.v1.AnalyzerService"
MIXER: Final = "segue.mixer.v1.MixerService"
LIMIT_S: Final = 3600.0


class AnalyzerProxy(analyzer_pb2_grpc.AnalyzerServiceServicer):
    """AnalyzerService, passed through."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def Analyze(
        self, request_iterator: AsyncIterator[analyzer_pb2.AnalyzeRequest], context: object
    ) -> AsyncIterator[analyzer_pb2.AnalyzeResponse]:
        """Measure what the caller sends."""
        async for response in exchange(
            self._peers.analyzer.Analyze, request_iterator, service="analyzer", timeout_s=LIMIT_S
        ):
            yield response


class MixerProxy(mixer_pb2_grpc.MixerServiceServicer):
    """MixerService, of which callers may have Master."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def Master(
        self, request_iterator: AsyncIterator[mixer_pb2.MasterRequest], context: object
    ) -> AsyncIterator[mixer_pb2.MasterResponse]:
        """Master what the caller sends."""
        async for response in exchange(self._peers.mixer.Master, request_iterator, service="mixer", timeout_s=LIMIT_S):
            yield response

    def Mix(
        self, request_iterator: AsyncIterator[mixer_pb2.MixRequest], context: object
    ) -> AsyncIterator[mixer_pb2.MixResponse]:
        """Refuse: joining sections is the conductor's."""
        raise errors.NotImplementedYet("the gateway offers Master; sections are joined by composing them")
