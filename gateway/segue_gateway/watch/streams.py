"""Writes watchers' streams into their calls: counts watchers, ends stalled readers, keeps attached work alive."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from segue.composer.v1 import stream_pb2
from segue_gateway.watch.watch import Watch, WatchOptions
from segue_runtime import errors, logs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc.aio

    from segue_composition.services import Services
    from segue_gateway.ready_times import ReadyTimes
    from segue_gateway.seal import Seal
    from segue_gateway.watch.cursor import Cursor
    from segue_runtime.metrics import Metrics
    from segue_runtime.settings.sections import GatewaySettings
    from segue_runtime.store import Job

ATTACH_EVERY_S: Final = 5.0
log = logs.get("gateway")


class WatchStreams:
    """The streams of one gateway."""

    def __init__(
        self,
        settings: GatewaySettings,
        services: Services,
        seal: Seal,
        ready_times: ReadyTimes,
        draining: asyncio.Event,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._services = services
        self._seal = seal
        self._ready_times = ready_times
        self._draining = draining
        self._metrics = metrics
        self.num_watchers = 0

    async def send(
        self,
        context: grpc.aio.ServicerContext[Any, Any],
        job: Job,
        start: Cursor,
        request: stream_pb2.ComposeRequest | stream_pb2.WatchCompositionRequest,
    ) -> None:
        """Send a composition from a cursor to its end, with the options of the request."""
        options = WatchOptions(
            audio=request.audio,
            encoding=request.encoding,
            heartbeat_s=request.heartbeat_interval.ToNanoseconds() / 1e9 or self._settings.heartbeat_s,
        )
        watch = Watch(self._services, self._seal, self._ready_times, self._draining, job, start, options)
        owns = request.disconnect_policy == stream_pb2.DISCONNECT_POLICY_CANCEL
        async with self._attached(job.name) if owns else contextlib.nullcontext():
            self.num_watchers += 1
            self._metrics.watchers.inc()
            try:
                await self._write_all(context, watch.messages())
            finally:
                self.num_watchers -= 1
                self._metrics.watchers.dec()

    async def _write_all(self, context: grpc.aio.ServicerContext[Any, Any], messages: AsyncIterator[bytes]) -> None:
        limit_s = self._settings.stall_limit_s
        async for message in messages:
            try:
                # A stalled reader still answers keepalive pings: only the unfinished write shows that it stalls.
                async with asyncio.timeout(limit_s):
                    await context.write(message)
            except TimeoutError:
                raise errors.ReaderTooSlow(
                    f"the client read nothing for {limit_s:g} s; continue with WatchComposition and the last cursor",
                    retry_after_s=1,
                ) from None

    @contextlib.asynccontextmanager
    async def _attached(self, name: str) -> AsyncIterator[None]:
        """Keep a composition alive while its stream is open, and for a grace time after it."""
        grace_s = self._settings.attach_grace_s

        async def keep() -> None:
            while True:
                try:
                    await self._services.store.attach(name, grace_s)
                except errors.SegueError as error:
                    # The next try comes before the grace time is over.
                    log.warning("an attachment was not written", composition=name, reason=error.reason)
                await asyncio.sleep(min(ATTACH_EVERY_S, grace_s / 3))

        task = asyncio.create_task(keep())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
