"""Opens every backend of the store; two of them lose every notification on purpose."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.runtime.redis_server import PROGRAM, RedisServer, running_redis
from tests.runtime.store_backends import Backend, RedisDatabase, SqliteFile
from tests.runtime.store_rows import Clock, Opens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from segue_runtime.store import Store

REDIS = pytest.mark.reference(PROGRAM)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def steady() -> Clock:
    """The machine's steady clock."""
    return Clock(5000.0)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One server for all tests of this process; each test empties it."""
    with running_redis("--appendonly", "no") as server:
        yield server


def _backend(request: pytest.FixtureRequest) -> Callable[..., Backend]:
    if request.param.startswith("sqlite"):
        return SqliteFile
    return partial(RedisDatabase, request.getfixturevalue("redis_server"))


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=REDIS)])
def backend(request: pytest.FixtureRequest) -> Callable[..., Backend]:
    """Make an empty backend."""
    return _backend(request)


@pytest.fixture(
    params=[
        "sqlite",
        "sqlite-without-notifications",
        pytest.param("redis", marks=REDIS),
        pytest.param("redis-without-notifications", marks=REDIS),
    ]
)
async def opens(request: pytest.FixtureRequest, clock: Clock, steady: Clock) -> AsyncIterator[Opens]:
    notifies = not request.param.endswith("-without-notifications")
    opened = _backend(request)(clock, steady, notifies=notifies)
    yield opened
    await opened.close()


@pytest.fixture
async def store(opens: Opens) -> Store:
    return await opens()
