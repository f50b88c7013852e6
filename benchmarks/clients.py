"""Measures the clients with one watcher: start-up, throughput and memory of `segue` and of the Python SDK.

python -m benchmarks.clients [--quick]

Needs `cargo build --release` in clients/rust. The server only sends prepared messages, so that the clients are
measured. A reader that discards all bytes shows the speed of the server.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from concurrent import futures
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_crc32c
import grpc

from benchmarks.report import heading, median, table
from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composer_pb2, composition_pb2, stream_pb2
from segue_client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

RATE = 48_000
CHUNK_FRAMES = 8_000
SEGUE = Path(__file__).parents[1] / "clients/rust/target/release/segue"
MB = 1e6
# The shortest call with the SDK.
FIRST_CALL = """
import asyncio, sys
from segue_client import Client

async def ask():
    async with Client(sys.argv[1]) as client:
        await client.stats()

asyncio.run(ask())
"""


def named(seconds: int) -> str:
    """Return the name of the composition of a length."""
    return f"compositions/{seconds:08x}"


def messages(seconds: int) -> Iterator[bytes]:
    """Yield the encoded stream of a piece of a length."""

    def message(sequence: int, **event: object) -> bytes:
        happened = stream_pb2.CompositionEvent(composition=named(seconds), sequence=sequence, **event)  # type: ignore[arg-type]  # fields of the message
        return stream_pb2.WatchCompositionResponse(cursor=str(sequence), event=happened).SerializeToString()

    composition = composition_pb2.Composition(name=named(seconds), state=composition_pb2.STATE_QUEUED)
    yield message(1, accepted=stream_pb2.Accepted(composition=composition))
    # The samples do not matter, so all are the same.
    samples = os.urandom(CHUNK_FRAMES * 8)
    chunk = audio_pb2.AudioChunk(
        format=audio_pb2.AudioFormat(sample_rate=RATE, channels=2, sample_format=audio_pb2.SAMPLE_FORMAT_F32LE),
        stage=audio_pb2.STAGE_DRAFT,
        section_id="verse",
        take="0" * 64,
        attempt=1,
        frames=CHUNK_FRAMES,
        data=samples,
        crc32c=google_crc32c.value(samples),
    )
    sequence = 1
    for first_frame in range(0, seconds * RATE, CHUNK_FRAMES):
        sequence += 1
        chunk.first_frame = first_frame
        yield message(sequence, audio=chunk)
    composition.state = composition_pb2.STATE_SUCCEEDED
    composition.draft_frames = seconds * RATE
    yield message(sequence + 1, finished=stream_pb2.Finished(composition=composition))


def serve(ready_s: list[int]) -> None:
    """Serve pieces of any length; the given lengths are prepared in memory. Runs in its own process."""
    ready = {named(seconds): list(messages(seconds)) for seconds in ready_s}

    def watch(request: stream_pb2.WatchCompositionRequest, _context: grpc.ServicerContext) -> Iterator[bytes]:
        yield from ready.get(request.name) or messages(int(request.name.rpartition("/")[2], 16))

    def stats(_request: composer_pb2.GetStatsRequest, _context: grpc.ServicerContext) -> bytes:
        return composer_pb2.GetStatsResponse(version="0.1.0").SerializeToString()

    server = grpc.server(futures.ThreadPoolExecutor(4))
    methods: dict[str, grpc.RpcMethodHandler[Any, bytes]] = {
        "WatchComposition": grpc.unary_stream_rpc_method_handler(
            watch, request_deserializer=stream_pb2.WatchCompositionRequest.FromString
        ),
        "GetStats": grpc.unary_unary_rpc_method_handler(
            stats, request_deserializer=composer_pb2.GetStatsRequest.FromString
        ),
    }
    handler = grpc.method_handlers_generic_handler("segue.composer.v1.ComposerService", methods)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


@contextmanager
def serving(*ready_s: int) -> Iterator[str]:
    """Start a server process and yield its address."""
    command = [sys.executable, "-m", "benchmarks.clients", "--serve", *map(str, ready_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def discard(address: str, name: str) -> None:
    """Read the stream as bytes and discard them."""
    with grpc.insecure_channel(address) as channel:
        # The type stubs do not allow a method without serializers.
        watch: Any = channel.unary_stream("/segue.composer.v1.ComposerService/WatchComposition")
        for _ in watch(stream_pb2.WatchCompositionRequest(name=name).SerializeToString()):
            pass


async def chunks(address: str, name: str) -> None:
    """Read the audio as arrays."""
    async with Client(address) as client:
        async for _ in client.watch(name).chunks():
            pass


async def save(address: str, name: str, path: str) -> None:
    """Write the audio to a file as it arrives."""
    async with Client(address) as client:
        await client.watch(name).save_live(path)


@dataclass(frozen=True)
class Used:
    """The resources that a process used."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def run(command: list[str]) -> Used:
    """Run a command until it ends."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak_kb = 0
    # rusage would include the memory of this process before exec, which is larger.
    while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
        peak_kb = max(peak_kb, highest_kb(process.pid))
        time.sleep(0.001)
    wall_s = time.perf_counter() - began
    _, status, usage = ended
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"error: {' '.join(command)} ended with {process.returncode}")
    return Used(wall_s, usage.ru_utime + usage.ru_stime, peak_kb * 1024 / MB)


def highest_kb(pid: int) -> int:
    """Return the peak memory of a process so far."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
    return 0


def ours(what: str, *arguments: str) -> list[str]:
    """Return the command that runs a part of this script."""
    return [sys.executable, "-m", "benchmarks.clients", "--part", what, *arguments]


def start_up(rounds: int) -> None:
    """Measure the time from process start to the first response. All rows alternate in each round."""
    with serving() as address:
        commands = {
            "`segue --version`": [str(SEGUE), "--version"],
            "`segue stats`": [str(SEGUE), "stats", "--server", address],
            "Python, nothing": [sys.executable, "-c", ""],
            "Python SDK, `import segue_client`": [sys.executable, "-c", "import segue_client"],
            "Python SDK, `client.stats()`": [sys.executable, "-c", FIRST_CALL, address],
        }
        found: dict[str, list[Used]] = {name: [] for name in commands}
        for _ in range(rounds + 1):
            for name, command in commands.items():
                found[name].append(run(command))
    rows = []
    for name, used in found.items():
        walls = [each.wall_s for each in used[1:]]
        cpu_s = median([each.cpu_s for each in used])
        rows.append([name, f"{1e3 * median(walls):.0f} ms", f"{1e3 * max(walls):.0f} ms", f"{1e3 * cpu_s:.0f} ms"])
    heading("Start-up of the clients")
    table(["command", "median", "slowest", "processor"], rows)


def watchers(seconds: int, address: str, folder: Path) -> dict[str, list[str]]:
    """Return the readers of one stream."""
    name = named(seconds)
    return {
        "reader that discards bytes": ours("discard", address, name),
        "`segue watch -o - >/dev/null`": [str(SEGUE), "watch", name, "-o", "-", "--server", address, "--quiet"],
        "Python SDK, `chunks()`": ours("chunks", address, name),
        "Python SDK, `save_live()`": ours("save", address, name, str(folder / f"{time.monotonic_ns()}.wav")),
    }


def bytes_a_second(short_s: int, long_s: int, rounds: int, folder: Path) -> None:
    """Measure the throughput of one watcher: the extra cost of a longer piece over a shorter one."""
    more_s = long_s - short_s
    size_mb = more_s * RATE * 8 / MB
    walls: dict[str, list[tuple[float, float]]] = {}
    cpus: dict[str, list[float]] = {}
    with serving(short_s, long_s) as address:
        for _ in range(rounds):
            pairs = zip(*(watchers(each, address, folder).items() for each in (short_s, long_s)), strict=True)
            for (name, short_command), (_, long_command) in pairs:
                short, long = run(short_command), run(long_command)
                walls.setdefault(name, []).append((short.wall_s, long.wall_s))
                cpus.setdefault(name, []).append(long.cpu_s - short.cpu_s)
            for file in folder.iterdir():
                file.unlink()
    bare_s = median(cpus["reader that discards bytes"])
    rows = []
    for name, found in walls.items():
        cpu_s = median(cpus[name])
        # The fastest round is the least disturbed by other processes.
        best_s = min(long for _, long in found) - min(short for short, _ in found)
        costs = [f"{1e3 * cpu_s / more_s:.2f} ms", f"{size_mb / cpu_s:.0f} MB/s", f"{bare_s / cpu_s:.2f}"]
        rows.append([name, *costs, f"{size_mb / best_s:.0f} MB/s", f"{more_s / best_s:.0f}"])
    heading(f"One watcher: {long_s} s of music in float, minus {short_s} s")
    columns = ["CPU time per second of music", "per CPU second", "ratio", "per second of time, fastest round"]
    table(["watcher", *columns, "times real time"], rows)


def memory(short_s: int, long_s: int, folder: Path) -> None:
    """Measure peak memory by length."""
    peaks: dict[str, list[float]] = {}
    with serving() as address:
        for seconds in (short_s, long_s):
            for name, command in watchers(seconds, address, folder).items():
                peaks.setdefault(name, []).append(run(command).peak_mb)
            for file in folder.iterdir():
                file.unlink()
    rows = [
        [name, f"{short:.1f} MB", f"{long:.1f} MB", f"{long - short:+.1f} MB"] for name, (short, long) in peaks.items()
    ]
    heading("Peak memory of one watcher")
    table(["watcher", f"{short_s} s of music", f"{long_s} s of music", "difference"], rows)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short pieces and few rounds, as a quick check")
    parser.add_argument("--serve", type=int, nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        serve(given.serve)
    elif given.part:
        part, *arguments = given.part
        if part == "discard":
            discard(*arguments)
        else:
            parts: dict[str, Callable[..., Coroutine[None, None, None]]] = {
                "chunks": chunks,
                "save": save,
            }
            asyncio.run(parts[part](*arguments))
    else:
        if not SEGUE.exists():
            raise SystemExit(f"error: there is no {SEGUE}\nhint: cd clients/rust && cargo build --release")
        print("measuring", file=sys.stderr)
        start_up(3 if given.quick else 15)
        with tempfile.TemporaryDirectory(prefix="segue-bench-") as name:
            bytes_a_second(*((10, 60, 2) if given.quick else (30, 600, 5)), Path(name))
            memory(*((10, 60) if given.quick else (60, 3600)), Path(name))


if __name__ == "__main__":
    main()
