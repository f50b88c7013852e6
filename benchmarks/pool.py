"""Measures how a mesh scales with renderer processes that wait instead of computing, since cores are few.

python -m benchmarks.pool [--seconds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mesh.harness import Segued, free_port, spec

from benchmarks.report import heading, table
from segue_client import Access, Client

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
NUM_PIECES = 2
FORM = "calm piano, 120 bpm, C major, verse chorus verse chorus verse chorus"
NUM_SECTIONS = 6 * NUM_PIECES


@contextlib.contextmanager
def renderers(folder: Path, count: int, seconds: float) -> Iterator[str]:
    """Start renderer processes that wait so long for each section; yields their addresses as the setting has them."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(count)]
    command = (sys.executable, "-m", "tests.mesh.waiting_renderer")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SEGUE_")}
    with contextlib.ExitStack() as stack:
        for address in addresses:
            one = subprocess.Popen([*command, address, str(folder), str(seconds)], cwd=ROOT, env=clean)
            stack.callback(one.wait)
            stack.callback(one.kill)
        yield ",".join(addresses)


async def sections_of(client: Client, seed: int) -> list[tuple[str, float]]:
    """Compose a piece; return the times at which its sections started and finished."""
    return [
        (update.kind, update.event.event_time.ToNanoseconds() / 1e9)
        async for update in client.compose(spec(FORM, seconds=24, seed=seed))
        if update.kind in {"section_started", "section_finished"}
    ]


async def measure(count: int, seconds: float) -> tuple[float, int]:
    """Return the time from the first start of a section to the last end, and the most sections at once."""
    with tempfile.TemporaryDirectory(prefix="segue-pool-") as name:
        folder = Path(name)
        with renderers(folder, count, seconds) as addresses:
            mesh = Segued(folder / "home", "--log-level", "error", "--renderer-addresses", addresses).start()
            try:
                async with Client(Access(mesh.address), patience_s=60) as client:
                    while len((await client.stats()).renderers) < count:  # noqa: ASYNC110 - nothing else tells
                        await asyncio.sleep(0.1)
                    pieces = await asyncio.gather(*(sections_of(client, seed) for seed in range(NUM_PIECES)))
            finally:
                mesh.stop()
    events = sorted((time, kind) for piece in pieces for kind, time in piece)
    running = most = 0
    for _, kind in events:
        running += 1 if kind == "section_started" else -1
        most = max(most, running)
    return events[-1][0] - events[0][0], most


async def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="Time that a renderer waits for each section.")
    seconds: float = parser.parse_args().seconds
    heading("Scaling of the pool")
    rows: list[list[str]] = []
    alone_s = 0.0
    for count in (1, 2, 4):
        took_s, most = await measure(count, seconds)
        alone_s = alone_s or took_s
        speed, ideal_s = alone_s / took_s, NUM_SECTIONS * seconds / count
        rows.append([
            str(count), str(most), f"{took_s:.1f} s", f"{ideal_s:.1f} s", f"{speed:.2f}", f"{speed / count:.2f}",
        ])  # fmt: skip
    columns = ["renderers", "sections at once", "time", "only waiting", "times one renderer", "share of linear"]
    table([*columns], rows)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
