"""Measures the service: first audio, throughput, many watchers, memory by length, start-up.

python -m benchmarks.pipes [--only first,gateway,idle,live,memory,start] [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc.aio
import psutil
from tests.mesh.harness import Segued, spec

from benchmarks.report import heading, median, quantile, table
from segue.composer.v1 import composer_pb2_grpc, stream_pb2
from segue_client import Access, Client
from segue_runtime.rpc.channels import channel_options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

DRAFT = stream_pb2.AUDIO_SELECTION_DRAFT
MASTER = stream_pb2.AUDIO_SELECTION_MASTER
MIB = 2**20
PROMPT = "rainy lo-fi, 82 bpm, F minor"


@contextlib.contextmanager
def serving(*flags: str, failpoints: str = "") -> Iterator[Segued]:
    """Start a server process."""
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as folder:
        one = Segued(Path(folder), "--log-level", "error", *flags).start(failpoints=failpoints)
        try:
            yield one
        finally:
            one.stop()


def client_of(one: Segued) -> Client:
    """Connect."""
    return Client(Access(one.address), patience_s=30)


async def composed(client: Client, seconds: float, seed: int) -> tuple[float, float, str]:
    """Compose; return seconds to the first audio, seconds to the end, and the name."""
    began, first, name = time.perf_counter(), 0.0, ""
    async for update in client.compose(spec(PROMPT, seconds=seconds, seed=seed), audio=DRAFT):
        name = update.event.composition
        if update.kind == "audio" and not first:
            first = time.perf_counter() - began
    return first, time.perf_counter() - began, name


# first audio


async def first_audio(*, quick: bool) -> None:
    """Measure the time from Compose to the first audio chunk and to the end of the piece."""
    runs, seconds = (5, 20.0) if quick else (30, 60.0)
    with serving() as one:
        async with client_of(one) as client:
            await composed(client, 10.0, 1)
            found = [await composed(client, seconds, seed) for seed in range(2, runs + 2)]
    firsts, wholes = [each[0] for each in found], [each[1] for each in found]
    heading("First audio")
    table(
        ["pieces", "first audio p50", "p95", "whole piece p50", "times real time", "first audio / whole"],
        [[
            f"{runs} of {seconds:g} s", f"{median(firsts):.3f} s", f"{quantile(firsts, 0.95):.3f} s",
            f"{median(wholes):.2f} s", f"{seconds / median(wholes):.1f}", f"{median(firsts) / median(wholes):.3f}",
        ]],
    )  # fmt: skip


# gateway efficiency


async def serve_bare(path: str) -> None:
    """Serve prepared messages, which shows the limit of grpc.aio for this stream. Runs in its own process."""
    content, messages, at = await asyncio.to_thread(Path(path).read_bytes), [], 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        messages.append(content[at + 4 : at + 4 + size])
        at += 4 + size
    parsed = [stream_pb2.WatchCompositionResponse.FromString(message) for message in messages]

    async def watch(_request: object, _context: object) -> AsyncIterator[stream_pb2.WatchCompositionResponse]:
        for message in parsed:
            yield message

    handler = grpc.unary_stream_rpc_method_handler(
        watch,
        request_deserializer=stream_pb2.WatchCompositionRequest.FromString,
        response_serializer=stream_pb2.WatchCompositionResponse.SerializeToString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("segue.composer.v1.ComposerService", {"WatchComposition": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


async def watched(address: str, name: str, keep: list[bytes] | None = None) -> float:
    """Read a finished composition; return MB of audio per second."""
    async with grpc.aio.insecure_channel(address, channel_options([], proxy=False)) as channel:
        stub: Any = composer_pb2_grpc.ComposerServiceStub(channel)
        request = stream_pb2.WatchCompositionRequest(name=name, audio=MASTER)
        began, total = time.perf_counter(), 0
        async for response in stub.WatchComposition(request):
            total += len(response.event.audio.data)
            if keep is not None:
                keep.append(response.SerializeToString())
        return total / 1e6 / (time.perf_counter() - began)


async def gateway(*, quick: bool) -> None:
    """Compare one watcher of a finished piece with a plain stream of the same messages."""
    seconds, rounds = (60.0, 3) if quick else (300.0, 9)
    with serving() as one, tempfile.TemporaryDirectory() as folder:
        async with client_of(one) as client:
            _, _, name = await composed(client, seconds, 2)
        messages: list[bytes] = []
        await watched(one.address, name, messages)
        kept = Path(folder, "messages")
        await asyncio.to_thread(kept.write_bytes, b"".join(len(each).to_bytes(4, "big") + each for each in messages))
        command = [sys.executable, "-m", "benchmarks.pipes", "--bare", str(kept)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as bare:
            try:
                assert bare.stdout is not None
                address = f"127.0.0.1:{int(bare.stdout.readline())}"
                await watched(address, name)
                pairs = [(await watched(one.address, name), await watched(address, name)) for _ in range(rounds)]
            finally:
                bare.terminate()
    heading("Gateway efficiency")
    table(
        ["piece", "messages", "gateway", "bare grpc.aio", "ratio (median of pairs)"],
        [[
            f"{seconds:g} s", len(messages), f"{median([a for a, _ in pairs]):.0f} MB/s",
            f"{median([b for _, b in pairs]):.0f} MB/s", f"{median([a / b for a, b in pairs]):.2f}",
        ]],
    )  # fmt: skip


# many watchers


async def idle(*, quick: bool) -> None:
    """Measure the memory of watchers of a queued composition."""
    count = 100 if quick else 500
    with serving("--queue-limit", "8", failpoints="conductor.before_section=sleep(600s)") as one:
        async with client_of(one) as client:
            await client.create(spec(PROMPT))
            waiting = await client.create(spec(PROMPT))
            arrived = asyncio.Semaphore(0)

            async def watch() -> None:
                async for _ in client.watch(waiting.name):
                    arrived.release()

            before = one.memory_bytes
            tasks = [asyncio.create_task(watch()) for _ in range(count)]
            for _ in range(count):
                await arrived.acquire()
            await asyncio.sleep(3)
            each = (one.memory_bytes - before) / count
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    heading("Idle watchers")
    table(["watchers", "memory each", "server before", "in all"],
          [[count, f"{each / 1024:.0f} KiB", f"{before / MIB:.0f} MiB", f"{each * count / MIB:.1f} MiB"]])  # fmt: skip


async def live(*, quick: bool) -> None:
    """Compare fifty watchers of one running composition with one watcher."""
    count, seconds = (10, 20.0) if quick else (50, 120.0)
    rows = []
    with serving() as one:
        async with client_of(one) as client:
            await composed(client, 10.0, 1)
            alone = 0.0
            for num in (1, count):
                created = await client.create(spec(PROMPT, seconds=seconds, seed=num + 1))
                began, before = time.perf_counter(), one.memory_bytes
                ends = await asyncio.gather(*(_heard_s(one, created.name, began) for _ in range(num)))
                alone = alone or max(ends)
                rows.append([
                    num, f"{min(ends):.2f} s", f"{max(ends):.2f} s", f"{max(ends) / alone:.2f}",
                    f"{(one.memory_bytes - before) / MIB:.0f} MiB",
                ])  # fmt: skip
    heading("Live watchers")
    table([f"watchers of {seconds:g} s", "first has all", "last has all", "against one", "memory grew by"], rows)


async def _heard_s(one: Segued, name: str, began: float) -> float:
    async with client_of(one) as client:
        async for _ in client.watch(name, audio=DRAFT):
            pass
    return time.perf_counter() - began


# memory by length


async def memory(*, quick: bool) -> None:
    """Measure the server's memory for pieces of increasing length."""
    rows = []
    for minutes in (1, 2) if quick else (1, 5, 30):
        with serving() as one:
            async with client_of(one) as client:
                await composed(client, 10.0, 1)
                before, peak, done = one.memory_bytes, 0, asyncio.Event()
                sampling = asyncio.create_task(_peak(one, done))
                _, whole, _ = await composed(client, 60.0 * minutes, 2)
                done.set()
                peak = await sampling
        rows.append([
            f"{minutes} min", f"{before / MIB:.0f} MiB", f"{peak / MIB:.0f} MiB", f"{whole:.1f} s",
            f"{60 * minutes / whole:.1f}",
        ])  # fmt: skip
    heading("Memory by length")
    table(["piece", "warm", "peak", "rendered in", "times real time"], rows)


async def _peak(one: Segued, done: asyncio.Event) -> int:
    assert one.process is not None
    process, peak = psutil.Process(one.process.pid), 0
    while not done.is_set():
        peak = max(peak, sum(each.memory_info().rss for each in (process, *process.children(recursive=True))))
        await asyncio.sleep(0.1)
    return peak


# start-up


async def start(*, quick: bool) -> None:
    """Measure `segued --help`, and `segued serve` until it is ready and warm."""
    rounds = 3 if quick else 11

    def helped() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "segued", "--help"], stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - began

    def served() -> float:
        began = time.perf_counter()
        with serving():
            return time.perf_counter() - began

    def bare() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import grpc, numpy, scipy.signal"], check=True)
        return time.perf_counter() - began

    measured: dict[str, Callable[[], float]] = {
        "segued --help": helped,
        "segued serve, until ready": served,
        "python importing grpc, numpy and scipy.signal": bare,
    }
    rows = []
    for name, once in measured.items():
        await asyncio.to_thread(once)
        found = [await asyncio.to_thread(once) for _ in range(rounds)]
        rows.append([name, f"{median(found):.2f} s", f"{max(found):.2f} s"])
    heading("Start-up")
    table(["command", "median", "slowest"], rows)


PARTS: dict[str, Callable[..., Coroutine[None, None, None]]] = {
    "first": first_audio,
    "gateway": gateway,
    "idle": idle,
    "live": live,
    "memory": memory,
    "start": start,
}


def main() -> None:
    """Measure the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="short pieces and few rounds, as a quick check")
    parser.add_argument("--bare", metavar="FILE", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.bare:
        asyncio.run(serve_bare(given.bare))
        return
    asyncio.run(_measure(given.only.split(","), quick=given.quick))


async def _measure(names: list[str], *, quick: bool) -> None:
    # One event loop for all parts: grpc.aio keeps a poller for the first loop and logs errors after it is closed.
    for name in names:
        print(f"measuring: {name}", file=sys.stderr)
        await PARTS[name](quick=quick)


if __name__ == "__main__":
    main()
