"""Measures what Redis and S3 cost a cluster, as ratios in one run, and the embedded shape against an earlier commit.

python -m benchmarks.cluster [--rounds 300] [--waiting 100000] [--before COMMIT] [--parts logs] [--quick]

It needs redis-server, and versitygw in the path (`make versitygw`). Ours and its peer take turns, so that other work on
the machine slows both alike. `--before` checks the commit out in a temporary folder and uses this environment.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
import redis.asyncio
from obstore.store import S3Store
from tests.runtime.redis_server import running_redis
from tests.runtime.s3_server import SECRET, S3Server, running
from tests.runtime.store_rows import job

from benchmarks.report import heading, median, table
from segue_runtime.artifacts import FolderArtifacts
from segue_runtime.artifacts.s3 import S3Artifacts
from segue_runtime.store import NewEvent, RowMark
from segue_runtime.store.redis import RedisStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence

QUIET = ("--maxmemory-policy", "noeviction")
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
LIMIT = 10_000_000
LEASE_S = 3600.0
ROW_BYTES, STATE_BYTES, SEGMENT_BYTES = 300, 2_000, 384_000
"""A row, the stored state of a composition, and a second of stereo floats at 48 kHz."""
FEW = 100
ROOTS = (
    *("clients/python", "daemon", "gateway", "gen", "libs"),
    *(f"services/{role}" for role in ("analyzer", "conductor", "mixer", "planner", "renderer")),
)
PIECE_S = 60
PARTS = ("logs", "claims", "segments")
COLUMNS = ("ours", "peer", "ours, median", "peer, median", "ratio (median of pairs)", "aim")
SETTLE_S = 0.02
"""A reader asks once before it waits for a message."""


class Pair:
    """The times of our way and of its peer's, measured in turns."""

    def __init__(self, name: str, peer: str, aim: str) -> None:
        self.name, self.peer, self.aim = name, peer, aim
        self.ours: list[float] = []
        self.peers: list[float] = []

    async def measure(self, ours: Callable[[], Awaitable[object]], peers: Callable[[], Awaitable[object]]) -> None:
        """Measure both once. Work that prepares something returns the seconds itself."""
        for times, work in ((self.ours, ours), (self.peers, peers)):
            began = time.perf_counter()
            known_s = await work()
            times.append(known_s if isinstance(known_s, float) else time.perf_counter() - began)

    def row(self) -> list[str]:
        """Return the row of the table. Ratios are of neighbours, since the load of the machine changes."""
        ratio = median([ours / peer for ours, peer in zip(self.ours, self.peers, strict=True)])
        times = [f"{median(each) * 1e3:.2f} ms" for each in (self.ours, self.peers)]
        return [self.name, self.peer, *times, f"{ratio:.2f}", self.aim]


async def heard(reading: Coroutine[Any, Any, float], append: Callable[[], Awaitable[object]]) -> float:
    """Return the seconds from an append until a reader that waits already has it."""
    waiting = asyncio.create_task(reading)
    await asyncio.sleep(SETTLE_S)
    began = time.perf_counter()
    await append()
    return await waiting - began


@contextlib.asynccontextmanager
async def opened(url: str, number: int = 1) -> AsyncIterator[list[RedisStore]]:
    """Open a store of a server several times, as processes do."""
    stores = [await RedisStore.open(url) for _ in range(number)]
    try:
        yield stores
    finally:
        for store in stores:
            await store.close()


async def logs(rounds: int) -> list[Pair]:
    """Append rows, and hear of them in another process."""
    append = Pair("append a row to the log, with the state", "XADD by redis-py", "1.3")
    watch = Pair("append, until a waiting reader has the row", "XADD, until XREAD BLOCK has it", "1.3")
    row, state = NewEvent("event", os.urandom(ROW_BYTES)), os.urandom(STATE_BYTES)
    with running_redis(*DURABLE) as server:
        async with (
            opened(server.url, 2) as (writer, reader),
            redis.asyncio.from_url(server.url) as bare,
            redis.asyncio.from_url(server.url) as listening,
        ):
            await writer.create(job(), queue_limit=LIMIT)
            claimed = await writer.claim("benchmark", LEASE_S)
            assert claimed is not None
            mark, number = claimed.last_row, 0

            async def append_ours() -> None:
                nonlocal mark
                mark = await writer.append(claimed.name, claimed.epoch, [row], after=mark, resource=state, state="A")

            async def append_bare() -> None:
                nonlocal number
                number += 1
                await bare.xadd("bare", {"k": "event", "p": row.payload}, id=f"{number}-0")

            async def read_ours(after: RowMark) -> float:
                await reader.wait(claimed.name, after.sequence, 5)
                assert len(await reader.read(claimed.name, after.sequence, stamp=after.stamp)) == 1
                return time.perf_counter()

            async def read_bare(after: int) -> float:
                assert await listening.xread({"bare": f"{after}-0"}, block=5000)
                return time.perf_counter()

            async def watch_ours() -> float:
                return await heard(read_ours(mark), append_ours)

            async def watch_bare() -> float:
                return await heard(read_bare(number), append_bare)

            for _ in range(rounds):
                await append.measure(append_ours, append_bare)
                await watch.measure(watch_ours, watch_bare)
    return [append, watch]


async def claims(rounds: int, waiting: int) -> list[Pair]:
    """Claim jobs of a hundred owners from a short and from a long queue."""
    claim = Pair(f"claim, with {waiting} waiting", f"claim, with {FEW} waiting", "1.5")
    with running_redis(*QUIET) as server:
        async with opened(f"{server.url}/0") as (long,), opened(f"{server.url}/1") as (short,):
            for store, num in ((long, waiting), (short, FEW)):
                for first in range(0, num, 500):
                    numbers = range(first, min(first + 500, num))
                    made = (job(f"compositions/{each:024x}", f"owner {each % 100}") for each in numbers)
                    await asyncio.gather(*(store.create(each, queue_limit=LIMIT) for each in made))

            async def once(store: RedisStore) -> None:
                claimed = await store.claim("benchmark", LEASE_S)
                assert claimed is not None
                await store.release(claimed.name, claimed.epoch)

            for _ in range(rounds):
                await claim.measure(lambda: once(long), lambda: once(short))
    return [claim]


async def segments(rounds: int) -> list[Pair]:
    """Store segments durably, in a bucket and in a folder."""
    bucket = Pair("store a segment of 1 s in S3", "PUT by obstore", "")
    folder = Pair("store a segment of 1 s in S3", "in a folder, with fsync", "")
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as name, running(Path(name) / "buckets") as server:
        settings = server.settings(server.new_bucket())
        inside, ours = FolderArtifacts(Path(name) / "folder"), S3Artifacts(settings, Path(name) / "spool")
        bare = _bare_bucket(server)
        payload = os.urandom(SEGMENT_BYTES)
        try:
            for each in range(rounds):
                stream, key = f"c/{each // 60}/draft", f"bare/{each}"
                await bucket.measure(
                    lambda stream=stream: ours.append(stream, payload),  # type: ignore[misc]  # bound at once
                    lambda key=key: obstore.put_async(bare, key, payload, mode="create"),  # type: ignore[misc]  # bound at once
                )
                await folder.measure(
                    lambda stream=stream: ours.append(f"{stream}-2", payload),  # type: ignore[misc]  # bound at once
                    lambda stream=stream: inside.append(stream, payload),  # type: ignore[misc]  # bound at once
                )
        finally:
            await ours.close()
            await inside.close()
    return [bucket, folder]


def _bare_bucket(server: S3Server) -> S3Store:
    options: Any = {"allow_http": True}
    return S3Store(
        server.new_bucket(), endpoint=server.endpoint, access_key_id="tests", secret_access_key=SECRET,
        region="us-east-1", virtual_hosted_style_request=False, client_options=options,
    )  # fmt: skip


def pieces(rounds: int, before: str) -> Pair:
    """Make pieces in one process with a home of its own, now and with an earlier commit: processor time."""
    pair = Pair(f"a piece of {PIECE_S} s, embedded, processor time", f"the same at {before}", "1.05")
    here = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as name:
        there = Path(name) / "before"
        subprocess.run(["git", "worktree", "add", "--detach", str(there), before], cwd=here, check=True)
        try:
            for seed in range(1 + rounds):
                for times, root in ((pair.ours, here), (pair.peers, there)):
                    used_s = _piece_s(root, Path(name), seed)
                    if seed:  # the first one warms both up
                        times.append(used_s)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(there)], cwd=here, check=True)
    return pair


def _piece_s(root: Path, folder: Path, seed: int) -> float:
    """Return the processor time of a process that makes a piece."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        path = os.pathsep.join(str(root / each) for each in ROOTS)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "segued", "compose", "calm piano, 110 bpm, C major", "--seed", str(seed)]
        command += ["--duration", f"{PIECE_S}s", "--home", home, "--output", str(Path(home) / "a.flac")]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, cwd=home, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


async def run(rounds: int, waiting: int, parts: Sequence[str]) -> Sequence[Pair]:
    """Measure what needs the servers."""
    work = {
        "logs": lambda: logs(rounds),
        "claims": lambda: claims(rounds, waiting),
        "segments": lambda: segments(max(20, rounds // 4)),
    }
    return [pair for part in parts for pair in await work[part]()]


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--waiting", type=int, default=100_000, help="jobs in the long queue")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS, help="what to measure on the servers")
    parser.add_argument("--before", default="", help="commit to compare the embedded shape with")
    parser.add_argument("--quick", action="store_true", help="few rounds and a shorter queue")
    given = parser.parse_args()
    rounds, waiting = (30, 2_000) if given.quick else (given.rounds, given.waiting)
    pairs = list(asyncio.run(run(rounds, waiting, given.parts)))
    if given.before:
        pairs.append(pieces(3 if given.quick else 7, given.before))
    heading("A cluster's stores, and the embedded shape")
    table(COLUMNS, [each.row() for each in pairs])


if __name__ == "__main__":
    main()
