"""Proxies of the analyzer and of the mixer's Master, for clients that can reach the gateway only.

The gateway authenticates the caller. Backpressure passes through: a message is requested only after the one before it
was accepted.
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
    """AnalyzerService of the analyzer, without Separate."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def Analyze(
        self, request_iterator: AsyncIterator[analyzer_pb2.AnalyzeRequest], context: object
    ) -> AsyncIterator[analyzer_pb2.AnalyzeResponse]:
        """Measure the audio of the request stream."""
        async for response in exchange(
            self._peers.analyzer.Analyze, request_iterator, service="analyzer", timeout_s=LIMIT_S
        ):
            yield response

    def Separate(
        self, request_iterator: AsyncIterator[analyzer_pb2.SeparateRequest], context: object
    ) -> AsyncIterator[analyzer_pb2.SeparateResponse]:
        """Refuse: callers have jobs, which do not depend on their connection."""
        raise errors.NotImplementedYet("the gateway separates with CreateSeparation; Separate is for conductors")


class MixerProxy(mixer_pb2_grpc.MixerServiceServicer):
    """MixerService of the mixer, without Mix."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def Master(
        self, request_iterator: AsyncIterator[mixer_pb2.MasterRequest], context: object
    ) -> AsyncIterator[mixer_pb2.MasterResponse]:
        """Master the audio of the request stream."""
        async for response in exchange(self._peers.mixer.Master, request_iterator, service="mixer", timeout_s=LIMIT_S):
            yield response

    def Mix(
        self, request_iterator: AsyncIterator[mixer_pb2.MixRequest], context: object
    ) -> AsyncIterator[mixer_pb2.MixResponse]:
        """Refuse: only conductors mix."""
        raise errors.NotImplementedYet("the gateway offers Master only; Mix is for conductors")
