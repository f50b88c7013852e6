"""The backends of the store for tests: each opens its data any number of times, as several processes do."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from segue_runtime.clocks import Clocks
from segue_runtime.store import SqliteStore, Store
from segue_runtime.store.redis import RedisStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runtime.redis_server import RedisServer

POLL_S = 0.1
"""Redis is asked this often without notifications: a test must not wait for a second each time."""


Machine = TypeVar("Machine")


def histories_on(machine: type[Machine], backend: Callable[..., Backend]) -> type[Machine]:
    """Return a state machine whose stores are those of a backend."""
    return cast("type[Machine]", type(machine.__name__, (machine,), {"make_backend": staticmethod(backend)}))


def lose(key: tuple[str, ...]) -> None:
    """Lose a notification."""


class SqliteFile:
    """Opens one file any number of times."""

    def __init__(self, clock: Callable[[], float], steady: Callable[[], float], *, notifies: bool = True) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="store-"))
        self._times = clock, steady
        self._notifies = notifies
        self._opened: list[Store] = []

    async def __call__(self, retention_s: float = 100) -> Store:
        clock, steady = self._times
        store = await SqliteStore.open(
            self._folder / "store" / "segue.db", clocks=Clocks(clock, steady), retention_s=retention_s, tail_rows=4
        )
        if not self._notifies:
            store.notifier.notify = lose  # type: ignore[method-assign]  # the fault under test
        self._opened.append(store)
        return store

    async def back_up(self) -> None:
        await self._close_all()
        shutil.copytree(self._folder / "store", self._folder / "backup")

    async def restore(self) -> None:
        await self._close_all()
        shutil.rmtree(self._folder / "store")
        (self._folder / "backup").rename(self._folder / "store")

    async def kill(self, store: Store) -> None:
        """End the process of a store."""
        self._opened.remove(store)
        await store.close()

    async def close(self) -> None:
        await self._close_all()
        shutil.rmtree(self._folder)

    async def _close_all(self) -> None:
        """Close all: nothing else writes into the file."""
        while self._opened:
            await self._opened.pop().close()


class RedisDatabase:
    """Opens the store of one server any number of times. Its clients stay open while the data are replaced."""

    def __init__(
        self,
        server: RedisServer,
        clock: Callable[[], float],
        steady: Callable[[], float],
        *,
        notifies: bool = True,
    ) -> None:
        self._server = server
        self._times = clock, steady
        self._notifies = notifies
        self._opened: list[Store] = []
        self._copy: dict[bytes, tuple[bytes, int]] = {}
        server.replace({})

    async def __call__(self, retention_s: float = 100) -> Store:
        clock, steady = self._times
        store = await RedisStore.open(
            self._server.url, clocks=Clocks(clock, steady), retention_s=retention_s, poll_s=POLL_S
        )
        if not self._notifies:
            store.notifier.notify = lose  # type: ignore[method-assign]  # the fault under test
        self._opened.append(store)
        return store

    async def back_up(self) -> None:
        self._copy = self._server.copy()

    async def restore(self) -> None:
        self._server.replace(self._copy)

    async def kill(self, store: Store) -> None:
        """End the process of a store. The server runs the commands that it had sent before it answers others."""
        self._opened.remove(store)
        await store.close()
        with self._server.client() as client:
            for _ in range(3):
                client.ping()

    async def close(self) -> None:
        while self._opened:
            await self._opened.pop().close()


Backend = SqliteFile | RedisDatabase
