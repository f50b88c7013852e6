"""An event loop in its own thread, for the blocking client."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

T = TypeVar("T")
CLOSE_S: Final = 10.0


class EventLoopThread:
    """Runs coroutines for callers in other threads. Close it after use."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="segue-client", daemon=True)
        self._thread.start()

    def make(self, build: Callable[[], T]) -> T:
        """Build an object in the thread of the loop."""

        async def built() -> T:
            return build()

        return self.run(built())

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Run a coroutine to its end. Ctrl-C cancels it and waits for its cleanup."""
        if self._loop.is_closed():
            work.close()
            raise RuntimeError("this client is closed")
        ended = threading.Event()

        async def watched() -> T:
            try:
                return await work
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(watched(), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            ended.wait(CLOSE_S)
            raise

    def iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        """Iterate over an async iterator, and close it at the end."""
        try:
            while True:
                try:
                    item = self.run(_next(source))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            close = getattr(source, "aclose", None)
            if close is not None and not self._loop.is_closed():
                self.run(close())

    def close(self) -> None:
        """Cancel what still runs, and stop the loop and its thread."""
        if self._loop.is_closed():
            return
        self.run(self._cancel_rest())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_S)
        self._loop.close()

    async def _cancel_rest(self) -> None:
        own = asyncio.current_task()
        left = [task for task in asyncio.all_tasks() if task is not own]
        for task in left:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(*left, return_exceptions=True)
        await self._loop.shutdown_asyncgens()


async def _next(source: AsyncIterator[T]) -> T:
    return await anext(source)
