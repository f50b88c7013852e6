"""Measures a server under load: many compositions and twice as many watchers at once, against one composition.

python -m benchmarks.load [--pieces 100] [--seconds 10]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.mesh.harness import Segued, spec

from benchmarks.pipes import DRAFT, MIB, PROMPT, client_of, composed, serving
from benchmarks.report import heading, median, quantile, table
from segue.composer.v1 import composition_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_client import Client

PROBE_EVERY_S = 0.05
WATCHERS_PER_PIECE = 2


@dataclass(frozen=True)
class Heard:
    """What one watcher measured, in seconds since the request and since the claim."""

    first_audio_s: float
    after_claim_s: float
    ended_once: bool


@dataclass
class Load:
    """The measurements of one run."""

    heard: list[Heard]
    whole_s: float
    peak_bytes: int = 0
    health_s: tuple[float, ...] = ()

    @property
    def figures(self) -> list[float]:
        """The columns of the table, from the third on."""
        firsts, claims = [each.first_audio_s for each in self.heard], [each.after_claim_s for each in self.heard]
        return [
            *(median(firsts), quantile(firsts, 0.95), median(claims), quantile(claims, 0.95), self.whole_s),
            *(self.peak_bytes / MIB, 1000 * median(self.health_s), 1000 * quantile(self.health_s, 0.95)),
        ]


@contextlib.contextmanager
def probing(one: Segued) -> Iterator[Load]:
    """Probe health and memory from a process of its own: this one is busy with its watchers."""
    assert one.process is not None
    found = Load([], 0.0)
    command = [sys.executable, "-m", "benchmarks.load", "--probe", one.address, str(one.process.pid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as probe:
        assert probe.stdout is not None
        probe.stdout.readline()
        yield found
        output, _ = probe.communicate()
        measured = json.loads(output)
    found.peak_bytes, found.health_s = measured["peak_bytes"], tuple(measured["health_s"])


def probe(address: str, pid: int) -> None:
    """Ask for health again and again until standard input ends; then print latencies and the peak of memory."""
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    server, peak, latencies = psutil.Process(pid), 0, []
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        stub.Check(health_pb2.HealthCheckRequest())
        print("ready", flush=True)
        while not ended.wait(PROBE_EVERY_S):
            began = time.perf_counter()
            stub.Check(health_pb2.HealthCheckRequest())
            latencies.append(time.perf_counter() - began)
            peak = max(peak, sum(each.memory_info().rss for each in (server, *server.children(recursive=True))))
    print(json.dumps({"peak_bytes": peak, "health_s": latencies}))


async def watched(client: Client, name: str, began: float) -> Heard:
    """Watch a composition to its end."""
    first = claimed = 0.0
    kinds: dict[str, int] = {}
    state = composition_pb2.STATE_UNSPECIFIED
    async for update in client.watch(name, audio=DRAFT):
        kinds[update.kind] = kinds.get(update.kind, 0) + 1
        if update.kind == "started":
            claimed = claimed or time.perf_counter()
        elif update.kind == "audio":
            first = first or time.perf_counter()
        elif update.kind == "finished":
            state = update.event.finished.composition.state
    once = kinds.get("accepted") == kinds.get("finished") == 1 and state == composition_pb2.STATE_SUCCEEDED
    return Heard(first - began, first - claimed, once)


async def loaded(one: Segued, num_pieces: int, seconds: float, first_seed: int) -> Load:
    """Create compositions at once, each with its watchers, and measure until the last one has ended."""
    with probing(one) as found:
        async with client_of(one) as client:
            began = time.perf_counter()

            async def piece(seed: int) -> list[Heard]:
                sent = time.perf_counter()
                name = (await client.create(spec(PROMPT, seconds=seconds, seed=seed))).name
                return await asyncio.gather(*(watched(client, name, sent) for _ in range(WATCHERS_PER_PIECE)))

            heard = await asyncio.gather(*(piece(first_seed + number) for number in range(num_pieces)))
        found.heard = [each for watchers in heard for each in watchers]
        found.whole_s = time.perf_counter() - began
    return found


async def measure(num_pieces: int, seconds: float) -> int:
    """Print the table; return 1 if a composition did not end once with success."""
    with serving("--queue-limit", str(2 * num_pieces), "--conductor-count", "2") as one:
        async with client_of(one) as client:
            await composed(client, seconds, 1)
        alone = await loaded(one, 1, seconds, 2)
        many = await loaded(one, num_pieces, seconds, 3)
    heading("Compositions at once")
    rows = [
        [
            f"{num} of {seconds:g} s, {num * WATCHERS_PER_PIECE}",
            f"{sum(each.ended_once for each in load.heard)} of {len(load.heard)}",
            *(f"{figure:.2f} s" for figure in load.figures[:5]),
            f"{load.figures[5]:.0f} MiB",
            *(f"{figure:.1f} ms" for figure in load.figures[6:]),
        ]
        for num, load in ((1, alone), (num_pieces, many))
    ]
    ratios = [f"{a / b:.2f}" for a, b in zip(many.figures, alone.figures, strict=True)]
    table(
        [
            *("compositions, watchers", "saw one end", "first audio p50", "p95", "after its claim p50", "p95"),
            *("all ended", "peak memory", "health p50", "p95"),
        ],
        [*rows, ["ratio", "", *ratios]],
    )
    return int(not all(each.ended_once for each in (*alone.heard, *many.heard)))


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pieces", type=int, default=100, help="compositions at once; each has two watchers")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each piece")
    parser.add_argument("--probe", nargs=2, metavar=("ADDRESS", "PID"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.probe:
        probe(given.probe[0], int(given.probe[1]))
        return 0
    return asyncio.run(measure(given.pieces, given.seconds))


if __name__ == "__main__":
    sys.exit(main())
