"""Compares when pieces are expected to be complete with when they are, under load.

python -m benchmarks.estimates [--pieces 200] [--at-once 8] [--warm-up 6]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mesh.harness import Segued, spec

from benchmarks.report import heading, median, quantile, table
from segue_client import Access, Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue.composer.v1.spec_pb2 import CompositionSpec

LENGTHS_S = (10.0, 20.0, 30.0, 45.0, 60.0)
PROMPTS = ("calm piano, 82 bpm", "funk, 110 bpm, E minor", "lo-fi, 75 bpm", "house, 124 bpm, A minor")
CLOSE = 0.3
LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class Guess:
    """An estimate of one piece, and what followed."""

    predicted_s: float
    actual_s: float

    @property
    def error(self) -> float:
        """The difference as a part of the actual time."""
        return self.predicted_s / self.actual_s - 1


async def follow(client: Client, what: CompositionSpec) -> tuple[Guess | None, Guess | None]:
    """Make a piece; return the estimate at its order, and the one in the middle of its life."""
    began = time.monotonic()
    created = await client.create(what)
    seen: list[tuple[float, float]] = []

    async def look() -> None:
        while True:
            found = await client.get(created.name)
            if found.HasField("ready_in"):
                seen.append((time.monotonic(), found.ready_in.ToNanoseconds() / 1e9))
            await asyncio.sleep(LOOK_EVERY_S)

    looking = asyncio.create_task(look())
    async for _ in client.watch(created.name):
        pass
    ended = time.monotonic()
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    first = Guess(created.ready_in.ToNanoseconds() / 1e9, ended - began) if created.HasField("ready_in") else None
    middle = min(seen, key=lambda each: abs(each[0] - (began + ended) / 2), default=None)
    return first, None if middle is None else Guess(middle[1], max(0.01, ended - middle[0]))


def specs(count: int) -> Iterator[CompositionSpec]:
    """Yield pieces of different lengths."""
    chance = random.Random(5)
    for seed in range(count):
        yield spec(chance.choice(PROMPTS), seconds=chance.choice(LENGTHS_S), seed=seed)


async def measure(
    client: Client, pieces: list[CompositionSpec], at_once: int
) -> list[tuple[Guess | None, Guess | None]]:
    """Keep so many pieces in work until all are made."""
    room = asyncio.Semaphore(at_once)

    async def one(what: CompositionSpec) -> tuple[Guess | None, Guess | None]:
        async with room:
            return await follow(client, what)

    return await asyncio.gather(*(one(what) for what in pieces))


def row(name: str, guesses: list[Guess | None]) -> list[str]:
    """Return the line of one kind of estimate."""
    known = [guess for guess in guesses if guess is not None]
    errors = [guess.error for guess in known]
    close = sum(abs(error) <= CLOSE for error in errors) / max(1, len(errors))
    times = (median([each.predicted_s for each in known]), median([each.actual_s for each in known]))
    spread = (quantile(errors, 0.1), median(errors), quantile(errors, 0.9))
    return [
        name, f"{len(known)} of {len(guesses)}", *(f"{each:.1f} s" for each in times),
        *(f"{each:+.0%}" for each in spread), f"{close:.0%}",
    ]  # fmt: skip


async def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pieces", type=int, default=200, help="Pieces that are measured.")
    parser.add_argument("--at-once", type=int, default=8, help="Pieces that are ordered at a time.")
    parser.add_argument("--warm-up", type=int, default=6, help="Pieces before, from which speeds and costs are known.")
    flags = parser.parse_args()
    heading("Predicted against actual times")
    with tempfile.TemporaryDirectory(prefix="segue-estimates-") as name:
        mesh = Segued(Path(name) / "home", "--log-level", "error").start()
        try:
            async with Client(Access(mesh.address), patience_s=60) as client:
                all_pieces = list(specs(flags.warm_up + flags.pieces))
                await measure(client, all_pieces[: flags.warm_up], flags.at_once)
                guesses = await measure(client, all_pieces[flags.warm_up :], flags.at_once)
        finally:
            mesh.stop()
    columns = ["estimate", "known", "predicted", "actual", "error p10", "median", "p90", "within ±30 %"]
    first, middle = zip(*guesses, strict=True)
    table(columns, [row("when ordered", list(first)), row("halfway", list(middle))])
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
