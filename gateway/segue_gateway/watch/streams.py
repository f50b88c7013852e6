"""Writes a watch into a call: counts the watchers, ends those that do not read, keeps attached work alive."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

from segue.composer.v1 import stream_pb2
from segue_gateway.watch.watch import Watch, WatchOptions
from segue_runtime import errors, logs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc.aio

    from segue_gateway.watch.cursor import Cursor
    from segue_runtime.artifacts import ArtifactStore
    from segue_runtime.metrics import Metrics
    from segue_runtime.settings import Settings
    from segue_runtime.store import Store

ATTACH_EVERY_S: Final = 5.0
log = logs.get("gateway")


class WatchStreams:
    """The streams that this gateway sends."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        artifacts: ArtifactStore,
        draining: asyncio.Event,
        metrics: Metrics,
    ) -> None:
        self._settings = settings.gateway
        self._store = store
        self._artifacts = artifacts
        self._draining = draining
        self._metrics = metrics
        self.num_watchers = 0

    async def send(
        self,
        context: grpc.aio.ServicerContext[Any, Any],
        name: str,
        start: Cursor,
        request: stream_pb2.ComposeRequest | stream_pb2.WatchCompositionRequest,
    ) -> None:
        """Send a composition from a cursor on, to its end, as a request wants it."""
        options = WatchOptions(
            audio=request.audio,
            encoding=request.encoding,
            heartbeat_s=request.heartbeat_interval.ToNanoseconds() / 1e9 or self._settings.heartbeat_s,
        )
        watch = Watch(self._store, self._artifacts, self._draining, name, start, options)
        owns = request.disconnect_policy == stream_pb2.DISCONNECT_POLICY_CANCEL
        async with self._attached(name) if owns else contextlib.nullcontext():
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
                # A reader that does not read still answers keepalive: only an unfinished write tells.
                async with asyncio.timeout(limit_s):
                    await context.write(message)
            except TimeoutError:
                raise errors.ReaderTooSlow(
                    f"nothing was read for {limit_s:g} s; go on with WatchComposition and the last cursor",
                    retry_after_s=1,
                ) from None

    @contextlib.asynccontextmanager
    async def _attached(self, name: str) -> AsyncIterator[None]:
        """Keep a composition alive as long as this stream is there, and a little longer."""
        grace_s = self._settings.attach_grace_s

        async def keep() -> None:
            while True:
                try:
                    await self._store.attach(name, time.time() + grace_s)
                except errors.SegueError as error:
                    # The caller is still here: the next try comes before the grace is over.
                    log.warning("an attachment was not written", composition=name, reason=error.reason)
                await asyncio.sleep(min(ATTACH_EVERY_S, grace_s / 3))

        task = asyncio.create_task(keep())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
