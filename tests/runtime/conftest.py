"""Opens every backend of the store; one of them loses every notification on purpose."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from tests.runtime.store_rows import Clock, Opens

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


@pytest.fixture(params=["sqlite", "sqlite-without-notifications"])
async def opens(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock, steady: Clock) -> AsyncIterator[Opens]:
    async with contextlib.AsyncExitStack() as opened:

        async def open_one() -> Store:
            store = await SqliteStore.open(
                tmp_path / "store" / "segue.db", clock=clock, steady_clock=steady, retention_s=100, tail_rows=4
            )
            if request.param == "sqlite-without-notifications":
                store.notifier.notify = lose  # type: ignore[method-assign]  # the fault under test
            opened.push_async_callback(store.close)
            return store

        yield open_one


@pytest.fixture
async def store(opens: Opens) -> Store:
    return await opens()
