"""Measures what a long queue costs: claim, Get, a page of List, and a waiting watcher's checkpoint.

python -m benchmarks.queue_depth [--quick]
python -m benchmarks.queue_depth --claims [--quick]    # claims alone, in both stores, in queues of up to 100,000 jobs
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from tests.mesh.harness import Segued, spec, stub
from tests.runtime.redis_server import running_redis

from benchmarks.report import heading, median, table
from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client import Access, Client
from segue_runtime.store import NewEvent, NewJob, SqliteStore
from segue_runtime.store.redis import RedisStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from segue.composer.v1.composer_pb2_grpc import ComposerServiceAsyncStub
    from segue.composer.v1.composition_pb2 import Composition
    from segue_runtime.store import Store

WORK = ("claim", "Get", "page of 100 of List", "checkpoint of a waiting watcher (processor time)")
WATCHERS = 20
CHECKPOINTS = 10
LIMIT = 1_000_000
LEASE_S = 3600.0
FLAGS = ("--queue-limit", str(LIMIT), "--gateway-heartbeat", "0.05s", "--log-level", "error")


@dataclass(frozen=True)
class Queue:
    """A gateway with a queue that nothing is taken from."""

    calls: ComposerServiceAsyncStub
    store: Store
    name: str
    """A composition that waits, on the first page of the list."""
    server: psutil.Process

    async def claim_ms(self) -> float:
        """Return the time of a claim; the job goes back into the queue."""
        began = time.perf_counter()
        job = await self.store.claim("benchmark", LEASE_S)
        taken_s = time.perf_counter() - began
        assert job is not None
        await self.store.release(job.name, job.epoch)
        return taken_s * 1e3

    async def get_ms(self) -> float:
        """Return the time of GetComposition."""
        began = time.perf_counter()
        await self.calls.GetComposition(composition_pb2.GetCompositionRequest(name=self.name))
        return (time.perf_counter() - began) * 1e3

    async def list_ms(self) -> float:
        """Return the time of a page of ListCompositions."""
        began = time.perf_counter()
        await self.calls.ListCompositions(composition_pb2.ListCompositionsRequest(page_size=100))
        return (time.perf_counter() - began) * 1e3

    async def checkpoint_ms(self) -> float:
        """Return the server's processor time for a checkpoint: waiting watchers receive nothing else."""
        began = self.server.cpu_times()
        await asyncio.gather(*(self._watch() for _ in range(WATCHERS)))
        ended = self.server.cpu_times()
        return (ended.user + ended.system - began.user - began.system) * 1e3 / CHECKPOINTS / WATCHERS

    async def _watch(self) -> None:
        call = self.calls.WatchComposition(stream_pb2.WatchCompositionRequest(name=self.name))
        num_checkpoints = 0
        async for response in call:
            num_checkpoints += response.event.WhichOneof("event") == "checkpoint"
            if num_checkpoints == CHECKPOINTS:
                break
        call.cancel()


@contextlib.asynccontextmanager
async def queue_of(home: Path, depth: int) -> AsyncIterator[Queue]:
    """Start a gateway with a queue of some compositions; no conductor takes them."""
    server = Segued(home, *FLAGS, role="gateway").start()
    store = await SqliteStore.open(home / "segue.db")
    try:
        async with Client(Access(server.address)) as client, stub(server.address) as calls:
            example = await client.create(spec(seconds=2))
            names = [f"compositions/{index:024x}" for index in range(depth - 1)]
            for start in range(0, len(names), 200):
                copies = [copy(example, name) for name in names[start : start + 200]]
                await asyncio.gather(*(store.create(each, queue_limit=LIMIT) for each in copies))
            assert server.process is not None
            yield Queue(calls, store, names[-3], psutil.Process(server.process.pid))
    finally:
        await store.close()
        server.stop()


def copy(example: Composition, name: str) -> NewJob:
    """Return a composition like another one."""
    composition = composition_pb2.Composition()
    composition.CopyFrom(example)
    composition.name = name
    accepted = stream_pb2.CompositionEvent(accepted=stream_pb2.Accepted(composition=composition))
    return NewJob(
        name=name, kind="composition", owner=composition.owner, spec_digest=b"", spec=b"",
        resource=composition.SerializeToString(), first_events=[NewEvent("event", accepted.SerializeToString())],
    )  # fmt: skip


async def run(depths: Sequence[int], rounds: int) -> None:
    """Measure the queues in turns, so that other work on the machine slows all of them alike; print the table."""
    times: list[list[list[float]]] = [[[] for _ in depths] for _ in WORK]
    async with contextlib.AsyncExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        queues = [await opened.enter_async_context(queue_of(folder / str(depth), depth)) for depth in depths]
        for number in range(rounds):
            for index, queue in enumerate(queues):
                times[0][index].append(await queue.claim_ms())
                times[1][index].append(await queue.get_ms())
                times[2][index].append(await queue.list_ms())
                if number % 10 == 0:
                    times[3][index].append(await queue.checkpoint_ms())
    heading("Deep queues")
    rows: list[list[str]] = []
    for work, each in zip(WORK, times, strict=True):
        medians = [median(found) for found in each]
        rows.append([work, *(f"{found:.2f} ms" for found in medians), *(f"{m / medians[0]:.2f}" for m in medians[1:])])
    table(["", *(f"{depth} wait" for depth in depths), *(f"{depth} to {depths[0]}" for depth in depths[1:])], rows)


@contextlib.asynccontextmanager
async def filled(kind: str, folder: Path, depth: int) -> AsyncIterator[Store]:
    """Open a store with a queue: half of the jobs have one owner, the others ten."""
    async with contextlib.AsyncExitStack() as stack:
        store: Store
        if kind == "sqlite":
            store = await SqliteStore.open(folder / f"{depth}.db")
        else:
            server = stack.enter_context(running_redis("--appendonly", "no"))
            store = await RedisStore.open(server.url)
        stack.push_async_callback(store.close)
        for start in range(0, depth, 200):
            jobs = [
                NewJob(f"compositions/{index:024x}", "composition", f"owner {index % 20 * (index % 2)}", b"", b"", b"")
                for index in range(start, min(depth, start + 200))
            ]
            await asyncio.gather(*(store.create(each, queue_limit=LIMIT) for each in jobs))
        yield store


async def claims(depths: Sequence[int], rounds: int) -> None:
    """Measure claims in both stores, in turns; print the table."""
    heading("Claims from deep queues")
    rows: list[list[str]] = []
    for kind in ("sqlite", "redis"):
        async with contextlib.AsyncExitStack() as opened:
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
            stores = [await opened.enter_async_context(filled(kind, folder, depth)) for depth in depths]
            times: list[list[float]] = [[] for _ in depths]
            for _ in range(rounds):
                for index, store in enumerate(stores):
                    began = time.perf_counter()
                    job = await store.claim("benchmark", LEASE_S)
                    times[index].append((time.perf_counter() - began) * 1e3)
                    assert job is not None
                    await store.release(job.name, job.epoch)
        medians = [median(found) for found in times]
        rows.append([kind, *(f"{found:.2f} ms" for found in medians), f"{medians[-1] / medians[0]:.2f}"])
    table(["a claim in", *(f"{depth} wait" for depth in depths), f"{depths[-1]} to {depths[0]}"], rows)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter queues and fewer rounds")
    parser.add_argument("--claims", action="store_true", help="claims alone, in both stores")
    arguments = parser.parse_args()
    if arguments.claims:
        asyncio.run(claims((100, 10_000 if arguments.quick else 100_000), 300))
        return
    asyncio.run(run((100, 1000) if arguments.quick else (100, 1000, 10_000), 20 if arguments.quick else 200))


if __name__ == "__main__":
    main()
