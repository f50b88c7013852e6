"""One server and one Redis for all tests of the bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest
from tests.analyzer.analyzer_calls import clicks, encoded
from tests.bridge.bridges import Bridge, Lists
from tests.mesh.harness import Segued
from tests.runtime.redis_server import RedisServer, running_redis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class StartBridge(Protocol):
    def __call__(self, *flags: str, failpoints: str = "") -> Bridge: ...


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with running_redis("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segued]:
    process = Segued(tmp_path_factory.mktemp("server"))
    try:
        yield process.start()
    finally:
        process.stop()


@pytest.fixture
def lists(redis_server: RedisServer) -> Iterator[Lists]:
    with redis_server.client() as client:
        client.flushall()
        yield Lists(client)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with one song of 120 beats a minute, which begins after half a second."""
    (folder := tmp_path / "root").mkdir()
    (folder / "song.flac").write_bytes(encoded(clicks(120, 8, first_s=0.5)))
    return folder


@pytest.fixture
def start_bridge(tmp_path: Path, root: Path, redis_server: RedisServer, server: Segued) -> Iterator[StartBridge]:
    """Start bridges that are killed at the end of the test."""
    started: list[Bridge] = []

    def start(*flags: str, failpoints: str = "") -> Bridge:
        (folder := tmp_path / f"bridge-{len(started)}").mkdir()
        own = ("--server", server.address, "--bridge-root", str(root), *flags)
        started.append(Bridge(folder, f"{redis_server.url}/0", *own, failpoints=failpoints))
        return started[-1]

    yield start
    for each in started:
        each.kill()
