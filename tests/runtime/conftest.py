"""Opens every backend of the store; one of them loses every notification on purpose."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.runtime.store_rows import Clock, Opens

from segue_runtime.clocks import Clocks
from segue_runtime.store import SqliteStore, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def steady() -> Clock:
    """The machine's steady clock."""
    return Clock(5000.0)


def lose(key: tuple[str, ...]) -> None:
    """Lose a notification."""


class SqliteFile:
    """Opens one file any number of times."""

    def __init__(self, folder: Path, clock: Clock, steady: Clock, *, notifies: bool) -> None:
        self._folder = folder
        self._times = clock, steady
        self._notifies = notifies
        self._opened: list[SqliteStore] = []

    async def __call__(self) -> Store:
        clock, steady = self._times
        store = await SqliteStore.open(
            self._folder / "store" / "segue.db", clocks=Clocks(clock, steady), retention_s=100, tail_rows=4
        )
        if not self._notifies:
            store.notifier.notify = lose  # type: ignore[method-assign]  # the fault under test
        self._opened.append(store)
        return store

    async def back_up(self) -> None:
        await self.close()
        shutil.copytree(self._folder / "store", self._folder / "backup")

    async def restore(self) -> None:
        await self.close()
        shutil.rmtree(self._folder / "store")
        (self._folder / "backup").rename(self._folder / "store")

    async def close(self) -> None:
        """Close all: nothing else writes into the file."""
        while self._opened:
            await self._opened.pop().close()


@pytest.fixture(params=["sqlite", "sqlite-without-notifications"])
async def opens(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock, steady: Clock) -> AsyncIterator[Opens]:
    opened = SqliteFile(tmp_path, clock, steady, notifies=request.param == "sqlite")
    yield opened
    await opened.close()


@pytest.fixture
async def store(opens: Opens) -> Store:
    return await opens()
