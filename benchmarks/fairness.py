"""Measures fairness between owners: one floods the queue, another sends a piece now and then.

python -m benchmarks.fairness [--pieces 500] [--every 10] [--tries 12]

The waiting times of the second owner, from its request to the start of the work, are compared with those on the same
service while it is idle. `--every 1` is a run of half a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mesh.harness import Segued, spec

from benchmarks.report import heading, median, quantile, table
from segue.composer.v1 import composition_pb2
from segue_client import Access, Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from segue.composer.v1.composition_pb2 import Composition

FLOOD, OTHER = "flood", "other"
SLOTS = 2
AT_ONCE = 20
FLOOD_S, PIECE_S = 20.0, 4.0


@dataclass(frozen=True)
class Wait:
    """What one piece of the second owner waited for."""

    start_s: float
    """From its creation to the start of its work."""
    ready_s: float
    """From the request to its end."""
    overtaken: int = 0
    """How many pieces of the flood began after its creation and before its own start."""


@contextlib.asynccontextmanager
async def serving(home: Path, num_pieces: int) -> AsyncIterator[tuple[Client, Client]]:
    """Start a service with two conductor slots; yield the clients of both owners."""
    tokens = home / "tokens"
    tokens.write_text("".join(f"{each} {hashlib.sha256(each.encode()).hexdigest()}\n" for each in (FLOOD, OTHER)))
    one = Segued(
        home, "--server-tokens-file", str(tokens), "--queue-limit", str(num_pieces + 10),
        "--conductor-count", str(SLOTS), "--log-level", "error",
    ).start()  # fmt: skip
    try:
        async with (
            Client(Access(one.address, token=FLOOD)) as flood,
            Client(Access(one.address, token=OTHER)) as other,
        ):
            yield flood, other
    finally:
        one.stop()


async def send(client: Client, tries: int, every_s: float) -> list[tuple[Composition, float]]:
    """Send a piece at each interval; return the ended pieces, each with the time that it took."""

    async def one(number: int) -> tuple[Composition, float]:
        await asyncio.sleep(number * every_s)
        began = time.perf_counter()
        name = (await client.create(spec(seconds=PIECE_S, seed=number))).name
        async for _ in client.watch(name):
            pass
        return await client.get(name), time.perf_counter() - began

    return await asyncio.gather(*(one(number) for number in range(tries)))


def waits(sent: Sequence[tuple[Composition, float]], others: Sequence[Composition] = ()) -> list[Wait]:
    """Return what each piece waited for."""
    starts = [each.start_time.ToNanoseconds() for each in others if each.HasField("start_time")]
    found: list[Wait] = []
    for piece, ready_s in sent:
        assert piece.state == composition_pb2.STATE_SUCCEEDED, piece.error
        created, started = piece.create_time.ToNanoseconds(), piece.start_time.ToNanoseconds()
        overtaken = sum(created < each < started for each in starts)
        found.append(Wait(max(0.0, (started - created) / 1e9), ready_s, overtaken))
    return found


async def measure(num_pieces: int, every_s: float, tries: int) -> int:
    """Print the table; return 1 if the flood was over too early."""
    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder), num_pieces) as (flood, other):
            await send(other, 1, 0)  # the first piece of a process loads what the others use
            idle = waits(await send(other, tries, every_s))
            limit = asyncio.Semaphore(AT_ONCE)

            async def one(number: int) -> None:
                async with limit:
                    await flood.create(spec(seconds=FLOOD_S, seed=number))

            await asyncio.gather(*(one(number) for number in range(num_pieces)))
            sent = await send(other, tries, every_s)
            flooded = [each async for each in flood.compositions()]
    beside = waits(sent, flooded)
    num_waiting = sum(each.state == composition_pb2.STATE_QUEUED for each in flooded)
    heading("Fairness between owners")
    table(
        ["the second owner's pieces", "wait p50", "wait p95", "flood's pieces begun before, at most", "ready p95"],
        [
            [
                f"{tries} of {PIECE_S:g} s, one each {every_s:g} s, {beside_what}",
                f"{median([each.start_s for each in found]):.2f} s",
                f"{quantile([each.start_s for each in found], 0.95):.2f} s",
                max(each.overtaken for each in found),
                f"{quantile([each.ready_s for each in found], 0.95):.2f} s",
            ]
            for beside_what, found in (
                ("on an idle service", idle),
                (f"beside {num_pieces} pieces of {FLOOD_S:g} s of another owner", beside),
            )
        ],
    )
    began = len(flooded) - num_waiting
    print(f"{SLOTS} conductor slots. At the end {num_waiting} pieces of the flood still waited; {began} had begun.")
    return int(not num_waiting)


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pieces", type=int, default=500, help="pieces of the flood")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between pieces of the second owner")
    parser.add_argument("--tries", type=int, default=12, help="pieces of the second owner, on each service")
    given = parser.parse_args()
    return asyncio.run(measure(given.pieces, given.every, given.tries))


if __name__ == "__main__":
    sys.exit(main())
