"""The mesh under test: each role a process, each connection through a proxy, and the stores that they share."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tests.chaos.mesh.object_store import ObjectStore
from tests.chaos.mesh.redis_pair import RedisPair
from tests.chaos.mesh.roles import POLL_S, RoleProcess
from tests.fleet.members import role_of
from tests.fleet.storage import as_flags
from tests.mesh.breaking_proxy import BreakingProxy
from tests.mesh.harness import Segued, address_flag, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.chaos.mesh.shapes import Shape

MAX_SKEW_S = 240
PARTIAL = ".partial"
"""The folder of files that a killed process has not finished; they are deleted after a day."""
# The callers reconnect within seconds; a machine that is busy must not cancel their pieces meanwhile.
FLAGS = (
    *("--conductor-count", "3", "--conductor-lease", "4s", "--conductor-heartbeat", "0.5s"),
    *("--gateway-attach-grace", "10m", "--server-drain", "3s", "--conductor-patience", "1h"),
)


@dataclass(frozen=True)
class Span:
    """A time in which a store could lose what it had accepted, or was full, in seconds of time.monotonic()."""

    begin: float
    end: float


@dataclass
class Stores:
    """The servers of the cluster shape, and what happened to them."""

    redis: RedisPair
    s3: ObjectStore

    def __post_init__(self) -> None:
        self.lags: list[Span] = []
        """What was accepted in these spans was lost by a failover."""
        self.full: list[Span] = []
        """The bucket was full."""
        self.breaches: list[str] = []
        """Answers of a store without its data that should have been refusals."""

    @contextlib.contextmanager
    def spanned(self, spans: list[Span]) -> Iterator[None]:
        """Note the time of a body, with a second of tolerance before it."""
        begin = time.monotonic() - 1
        try:
            yield
        finally:
            spans.append(Span(begin, time.monotonic()))


class ChaosMesh:
    """The processes of a shape: on one home, or with the stores of a cluster and a home each."""

    def __init__(self, shape: Shape, home: Path, seed: int = 0) -> None:
        self.shape = shape
        self.home = home
        self._seed = seed
        self._stack = contextlib.AsyncExitStack()
        self._addresses = {name: f"127.0.0.1:{free_port()}" for name in shape.processes}
        self._stores: Stores | None = None
        self.links: dict[str, BreakingProxy] = {}
        self.processes: dict[str, RoleProcess] = {}

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def stores(self) -> Stores:
        """The stores of the cluster shape."""
        assert self._stores is not None
        return self._stores

    @property
    def doors(self) -> list[str]:
        """The addresses for callers."""
        return [self.links[link].address for link in self.shape.doors]

    def address_of(self, process: str) -> str:
        """Return the address of a process, past its proxy."""
        return self._addresses[process]

    async def _start(self) -> None:
        self.home.mkdir(parents=True)
        for link in self.shape.links:
            await self._open_link(link, self._addresses[self.shape.doors.get(link, link)])
        if self.shape.stores:
            await self._start_stores()
        shared = self._shared_flags()
        chance = random.Random(f"clocks of {self._seed}")
        for name, address in self._addresses.items():
            flags = (*shared, *self.store_flags(name), *FLAGS)
            home = self.home / name if self._stores else self.home
            self.processes[name] = RoleProcess(
                name, Segued(home, *flags, role=role_of(name), address=address, log_path=home / f"{name}.log")
            )
            if self._stores and chance.random() < 0.5:
                self.processes[name].skew_s = chance.uniform(-MAX_SKEW_S, MAX_SKEW_S)
            self._stack.push_async_callback(self.processes[name].close)
        await asyncio.gather(*(process.start() for process in self.processes.values()))

    def _shared_flags(self) -> list[str]:
        flags = [address_flag("renderer"), ",".join(self.links[name].address for name in self.shape.renderers)]
        for role in ("planner", "mixer", "analyzer"):
            flags += [address_flag(role), self.links[role].address]
        return flags

    async def _start_stores(self) -> None:
        stores = Stores(RedisPair(self.home / "redis"), ObjectStore(self.home / "s3"))
        await stores.redis.start()
        self._stack.push_async_callback(stores.redis.close)
        await stores.s3.start()
        self._stack.push_async_callback(stores.s3.close)
        stores.redis.links = await self._open_links("redis", f"127.0.0.1:{stores.redis.primary.port}")
        stores.s3.links = await self._open_links("s3", stores.s3.address)
        self._stores = stores

    async def _open_links(self, store: str, target: str) -> Mapping[str, BreakingProxy]:
        links = self.shape.store_links(store)
        return {process: await self._open_link(link, target) for process, link in links.items()}

    async def _open_link(self, name: str, target: str) -> BreakingProxy:
        self.links[name] = await self._stack.enter_async_context(BreakingProxy(target))
        return self.links[name]

    def store_settings(self, process: str = "") -> dict[str, str]:
        """Return the settings that lead to the stores: through the links of a process, or directly."""
        if self._stores is None:
            return {}
        redis = self._stores.redis.links[process].address if process else f"127.0.0.1:{self._stores.redis.primary.port}"
        s3 = self._stores.s3.settings(self._stores.s3.links[process].address if process else "")
        return {"store.backend": "redis", "store.url": f"redis://{redis}", **s3, "artifacts.s3.timeout": "5s"}

    def store_flags(self, process: str) -> list[str]:
        """Return the flags of a process that uses the stores."""
        if self._stores is None or process not in self._stores.redis.links:
            return []
        return as_flags(self.store_settings(process))

    def artifact_files(self) -> list[str]:
        """Return the names of all files in the artifact folder of the embedded shape, without unfinished ones."""
        folder = self.home / "artifacts"
        names = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        return sorted(name for name in names if not name.startswith(PARTIAL))

    async def end_of(self, name: str, doing: Callable[[], None], limit_s: float) -> bool:
        """Do something, and wait until a process has ended; return whether it has within the limit."""
        process = self.processes[name]
        before = process.num_ends
        doing()
        try:
            async with asyncio.timeout(limit_s):
                while process.num_ends == before:
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            return False
        return True
