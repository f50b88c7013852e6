"""One watcher: start-up, bytes a second and memory of the `segue` command and of the Python SDK.

python -m benchmarks.clients [--quick]

Needs `cargo build --release` in clients/rust. The server sends ready messages and does nothing else, so that the
clients are what is measured; a reader that throws all bytes away shows how fast that server is.
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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_crc32c
import grpc

from benchmarks.report import heading, median, table
from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composer_pb2
from segue_client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

RATE = 48_000
CHUNK_FRAMES = 8_000
NAME = "compositions/00c0ffee"
SEGUE = Path(__file__).parents[1] / "clients/rust/target/release/segue"
MB = 1e6


def messages(seconds: int) -> Iterator[bytes]:
    """Yield the stream of a piece of this length, ready to be sent."""
    composition = composer_pb2.Composition(name=NAME, state=composer_pb2.STATE_QUEUED)
    yield _message(1, accepted=composer_pb2.Accepted(composition=composition))
    # The samples themselves are all the same: nobody here listens.
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
        yield _message(sequence, audio=chunk)
    composition.state = composer_pb2.STATE_SUCCEEDED
    composition.draft_frames = seconds * RATE
    yield _message(sequence + 1, finished=composer_pb2.Finished(composition=composition))


def _message(sequence: int, **event: object) -> bytes:
    happened = composer_pb2.CompositionEvent(composition=NAME, sequence=sequence, **event)  # type: ignore[arg-type]  # fields of the message
    return composer_pb2.WatchCompositionResponse(cursor=str(sequence), event=happened).SerializeToString()


def serve(seconds: int) -> None:
    """Send the same piece to whoever asks. Runs as a process of its own."""
    # What is long is made on the way; what is short is ready, and the server as fast as it can be.
    ready = list(messages(seconds)) if seconds <= 600 else None

    def watch(_request: bytes, _context: grpc.ServicerContext) -> Iterator[bytes]:
        yield from messages(seconds) if ready is None else ready

    def stats(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        return composer_pb2.GetStatsResponse(version="0.1.0").SerializeToString()

    server = grpc.server(futures.ThreadPoolExecutor(4))
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "WatchComposition": grpc.unary_stream_rpc_method_handler(watch),
        "GetStats": grpc.unary_unary_rpc_method_handler(stats),
    }
    handler = grpc.method_handlers_generic_handler("segue.composer.v1.ComposerService", methods)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


@contextmanager
def serving(seconds: int) -> Iterator[str]:
    """A server process; gives its address."""
    command = [sys.executable, "-m", "benchmarks.clients", "--serve", str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def throw_away(address: str) -> None:
    """Read the stream as bytes, and do nothing with them."""
    with grpc.insecure_channel(address) as channel:
        # The stubs cannot know a method without serializers.
        watch: Any = channel.unary_stream("/segue.composer.v1.ComposerService/WatchComposition")
        for _ in watch(b""):
            pass


async def stats(address: str) -> None:
    """Ask the SDK for the service's load: the smallest thing to do."""
    async with Client(address) as client:
        await client.stats()


async def chunks(address: str) -> None:
    """Take the sound as arrays."""
    async with Client(address) as client:
        async for _ in client.watch(NAME).chunks():
            pass


async def save(address: str, path: str) -> None:
    """Write the sound to a file while it comes."""
    async with Client(address) as client:
        await client.watch(NAME).save_live(path)


@dataclass(frozen=True)
class Used:
    """What a process needed."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def run(command: list[str], stdout: Path | None = None) -> Used:
    """Run a command to its end."""
    out = os.open(stdout or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began
    os.close(out)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"error: {' '.join(command)} ended with {process.returncode}")
    return Used(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / MB)


def ours(what: str, *arguments: str) -> list[str]:
    """A part of this script as a process."""
    return [sys.executable, "-m", "benchmarks.clients", "--part", what, *arguments]


def start_up(rounds: int) -> None:
    """From nothing to the first answer; each row beside the others in every round."""
    with serving(1) as address:
        commands = {
            "`segue --version`": [str(SEGUE), "--version"],
            "`segue stats`": [str(SEGUE), "stats", "--server", address],
            "Python, nothing": [sys.executable, "-c", ""],
            "Python SDK, `import segue_client`": [sys.executable, "-c", "import segue_client"],
            "Python SDK, `client.stats()`": ours("stats", address),
        }
        found: dict[str, list[Used]] = {name: [] for name in commands}
        for _ in range(rounds + 1):
            for name, command in commands.items():
                found[name].append(run(command))
    rows = []
    for name, used in found.items():
        walls = [each.wall_s for each in used[1:]]
        cpu_s, peak_mb = median([each.cpu_s for each in used]), median([each.peak_mb for each in used])
        rows.append([name, f"{median(walls):.3f} s", f"{max(walls):.3f} s", f"{cpu_s:.3f} s", f"{peak_mb:.0f} MB"])
    heading("Start-up of the clients")
    table(["command", "median", "slowest", "processor", "peak memory"], rows)


def watchers(folder: Path, sink: str) -> dict[str, list[str]]:
    """The ways to take one stream; `{}` stands for the address."""
    return {
        "reader that throws bytes away": ours("throw_away", "{}"),
        "`segue watch -o - >/dev/null`": [str(SEGUE), "watch", NAME, "-o", "-", "--server", "{}", "--quiet"],
        "Python SDK, `chunks()`": ours("chunks", "{}"),
        "Python SDK, `save_live()`": ours("save", "{}", str(folder / sink)),
    }


def bytes_a_second(seconds: int, rounds: int, folder: Path) -> None:
    """How fast one watcher takes a finished piece, and what a second of music costs it."""
    size_mb = seconds * RATE * 8 / MB
    found: dict[str, list[Used]] = {}
    with serving(seconds) as address:
        for turn in range(rounds):
            for name, command in watchers(folder, f"{turn}.wav").items():
                found.setdefault(name, []).append(run([part.format(address) for part in command]))
            (folder / f"{turn}.wav").unlink()
    fastest = median([size_mb / each.wall_s for each in found["reader that throws bytes away"]])
    rows = []
    for name, used in found.items():
        speed = median([size_mb / each.wall_s for each in used])
        cpu_ms = median([1e3 * each.cpu_s / seconds for each in used])
        real_time = speed * MB / (RATE * 8)
        rows.append([name, f"{speed:.0f} MB/s", f"{real_time:.0f}", f"{cpu_ms:.2f} ms", f"{speed / fastest:.2f}"])
    heading(f"One watcher, {seconds} s of music in float ({size_mb:.0f} MB)")
    table(["watcher", "bytes a second", "times real time", "processor, a second of music", "ratio"], rows)


def memory(short_s: int, long_s: int, folder: Path) -> None:
    """Peak memory over length."""
    peaks: dict[str, list[float]] = {}
    for seconds in (short_s, long_s):
        with serving(seconds) as address:
            for name, command in watchers(folder, f"long-{seconds}.wav").items():
                peaks.setdefault(name, []).append(run([part.format(address) for part in command]).peak_mb)
        (folder / f"long-{seconds}.wav").unlink()
    rows = [
        [name, f"{short:.1f} MB", f"{long:.1f} MB", f"{long - short:+.1f} MB"] for name, (short, long) in peaks.items()
    ]
    heading("Peak memory of one watcher")
    table(["watcher", f"{short_s} s of music", f"{long_s} s of music", "difference"], rows)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short pieces, few rounds: to see whether it works")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve)
    elif given.part:
        part, *arguments = given.part
        if part == "throw_away":
            throw_away(*arguments)
        else:
            parts: dict[str, Callable[..., Coroutine[None, None, None]]] = {
                "stats": stats,
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
            bytes_a_second(*((30, 2) if given.quick else (300, 5)), Path(name))
            memory(*((10, 60) if given.quick else (60, 3600)), Path(name))


if __name__ == "__main__":
    main()
