"""One run: callers and faults at once, then calm, then every guarantee is checked."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import random
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos.callers import BOTH, Callers, Piece
from tests.chaos.faults.draw import strikes
from tests.chaos.guarantees import NEVER_EMPTY, NOTHING_LEFT, violations
from tests.chaos.leftovers import left_over
from tests.chaos.mesh.mesh import ChaosMesh
from tests.chaos.mesh.shapes import EMBEDDED
from tests.chaos.orders import make_orders
from tests.chaos.recovery import Recoveries
from tests.chaos.references import undisturbed
from tests.chaos.tolerance import Tolerance
from tests.fleet.members import role_of

from segue_client import Client, SegueError
from segue_client.events import FROM_MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from tests.chaos.faults.fault import Fault
    from tests.chaos.guarantees import Violation
    from tests.chaos.mesh.mesh import Stores
    from tests.chaos.mesh.shapes import Shape
    from tests.chaos.orders import Order
    from tests.chaos.recovery import Interruption

    from segue_client import Update

MAX_OPEN = 8
"""Orders that are open at once; a third of all in a short run."""
STRIKES_PER_PIECE = 0.8
"""Later orders wait for their share of faults while others run, so that a quick machine gets as many."""
STUCK_S = 300.0
"""No new event in any log for this long: the rest will never end."""
PATIENCE_S = 600.0
POLL_S = 0.05


@dataclass
class Outcome:
    """The result of a run."""

    pieces: list[Piece]
    found: list[Violation]
    num_left_out: int
    """Orders that were not sent, since the time was over."""
    recoveries: Recoveries
    seconds: float

    @property
    def num_faults(self) -> int:
        """How many faults struck."""
        return len(self.recoveries.all)

    @property
    def lost(self) -> list[Piece]:
        """The pieces that a failover has lost, as it may."""
        return [piece for piece in self.pieces if piece.is_lost and piece.may_be_lost]


@dataclass
class Progress:
    """How far the run is."""

    num_events: int = 0
    last_event: float = field(default_factory=time.monotonic)

    def heard(self, update: Update) -> None:
        if update.kind not in FROM_MEMORY:
            self.num_events += 1
            self.last_event = time.monotonic()


class ChaosRun:
    """A run of `num_pieces` orders. After `minutes` there are no new orders and faults; what was accepted must end."""

    def __init__(
        self,
        seed: int,
        num_pieces: int,
        minutes: float,
        home: Path,
        say: Callable[[str], None],
        *,
        shape: Shape = EMBEDDED,
        num_faults: int | None = None,
        faults: Iterable[Sequence[Fault]] | None = None,
    ) -> None:
        self._seed = seed
        self._shape = shape
        self._orders = make_orders(seed, num_pieces)
        self._end = time.monotonic() + minutes * 60
        self._calm = False
        self._num_open = min(MAX_OPEN, -(-num_pieces // 3))
        self._home = home
        self._say = say
        self._progress = Progress()
        self._recoveries = Recoveries()
        self._strikes = strikes(seed, shape) if faults is None else faults
        self._max_faults = num_faults
        self._strikes_per_piece = STRIKES_PER_PIECE
        if num_faults:  # the last orders wait for the last faults
            self._strikes_per_piece = num_faults / max(1, num_pieces - self._num_open)
        self._num_strikes = 0
        self._num_left_out = 0

    async def run(self) -> Outcome:
        """Run it."""
        began = time.monotonic()
        references = await undisturbed(self._orders, self._home / "undisturbed", self._say)
        self._say(f"{len(references)} undisturbed pieces are made; the faults begin")
        mesh = ChaosMesh(self._shape, self._home / "mesh", self._seed)
        async with mesh, contextlib.AsyncExitStack() as stack:
            self._say(f"{len(mesh.processes)} processes are up")
            clients = [Client(door, patience_s=PATIENCE_S) for door in (*mesh.doors, *mesh.doors)]
            for client in clients:
                await stack.enter_async_context(client)
                await client.stats()
            callers = Callers(clients, self._heard)
            await self._disturb(mesh, callers)
            self._say("the faults are over; every log is read again, and every file is downloaded")
            for piece in callers.pieces:
                await self._read_again(piece, clients[0])
            listed = [each.name async for each in clients[0].compositions()]
            of_the_mesh = {NOTHING_LEFT: await left_over(mesh, clients[0], listed)}
            if self._shape.stores:
                of_the_mesh[NEVER_EMPTY] = mesh.stores.breaches
                for piece in callers.pieces:
                    _note_losses(piece, mesh.stores)
        found = violations(callers.pieces, references, listed, of_the_mesh)
        return Outcome(callers.pieces, found, self._num_left_out, self._recoveries, time.monotonic() - began)

    def _heard(self, update: Update) -> None:
        self._progress.heard(update)
        if update.kind not in FROM_MEMORY:
            self._recoveries.heard(update)

    async def _disturb(self, mesh: ChaosMesh, callers: Callers) -> None:
        """Send the orders and cause faults; return when all pieces have ended, or nothing moves any more."""
        waiting = iter(self._orders)
        sending = [asyncio.create_task(self._send(waiting, callers)) for _ in range(self._num_open)]
        striking = asyncio.create_task(self._strike(mesh, callers))
        self._progress.last_event = time.monotonic()
        try:
            while not all(task.done() for task in sending) and not (striking.done() and striking.exception()):
                await asyncio.wait(sending, timeout=1)
                if time.monotonic() - self._progress.last_event > STUCK_S:
                    self._say(f"no event for {STUCK_S:g} s: the rest is given up")
                    break
        finally:
            self._calm = True
            for task in sending:
                task.cancel()
            results = await asyncio.gather(*sending, striking, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _send(self, waiting: Iterator[Order], callers: Callers) -> None:
        for order in waiting:
            due_strikes = (order.number - self._num_open) * self._strikes_per_piece
            while callers.running and self._num_strikes < due_strikes and time.monotonic() < self._end:
                await asyncio.sleep(POLL_S)
            if time.monotonic() > self._end:
                self._num_left_out += 1
                continue
            await callers.send(order)
            num_ended = sum(piece.ended is not None for piece in callers.pieces)
            self._say(f"{num_ended} pieces have ended, {len(callers.running)} are running")

    async def _strike(self, mesh: ChaosMesh, callers: Callers) -> None:
        """Cause faults until the time is over: each after some progress, so that a slow machine gets as many.

        Faults of different roles overlap.
        """
        chance = random.Random(f"pauses of {self._seed}")
        present: dict[str, asyncio.Task[None]] = {}
        async with Client(mesh.doors[0], patience_s=PATIENCE_S) as client, asyncio.TaskGroup() as group:
            tolerance = Tolerance(client)
            for faults in self._strikes:
                await asyncio.sleep(chance.uniform(0.1, 0.8))
                await self._wait_for_orders(callers)
                await self._wait_for_progress(chance.randint(0, 25), callers)
                await asyncio.gather(
                    *(present[role_of(each.target)] for each in faults if role_of(each.target) in present)
                )
                while not self._calm and not await tolerance.allows(faults, callers.running):
                    await asyncio.sleep(POLL_S)
                num_left = sys.maxsize if self._max_faults is None else self._max_faults - len(self._recoveries.all)
                if self._calm or time.monotonic() > self._end or num_left <= 0:
                    break
                self._say("; ".join(map(str, faults[:num_left])))
                self._num_strikes += 1
                for fault in faults[:num_left]:
                    interruption = self._recoveries.begin(fault, callers.running)
                    present[role_of(fault.target)] = group.create_task(_struck(interruption, mesh))
            self._num_strikes = sys.maxsize  # no order waits for further faults

    async def _wait_for_orders(self, callers: Callers) -> None:
        """Spread a limited number of faults over all orders."""
        due_pieces = 0.0 if self._max_faults is None else self._num_strikes / self._strikes_per_piece
        while not self._calm and len(callers.pieces) < due_pieces:
            await asyncio.sleep(POLL_S)

    async def _wait_for_progress(self, num_events: int, callers: Callers) -> None:
        """Wait until the running pieces have so many more events; a fault without work would test little."""
        wanted = self._progress.num_events + num_events
        while not self._calm and (not callers.running or self._progress.num_events < wanted):
            await asyncio.sleep(POLL_S)

    async def _read_again(self, piece: Piece, client: Client) -> None:
        """Read the whole log in one stream, and download the files."""
        if piece.ended is None:
            return
        record = piece.new_record("late watcher")
        name = piece.ended.name
        try:
            async for update in client.watch(name, audio=BOTH):
                record.take(update)
            for output in piece.ended.outputs:
                digest = hashlib.sha256()
                async for block in client.read(output):
                    digest.update(block)
                piece.downloads[output.name.rpartition("/")[2]] = digest.hexdigest()
        except SegueError as error:
            record.errors.append(error)
        record.seal(keep_audio=piece.cancelled)


async def _struck(interruption: Interruption, mesh: ChaosMesh) -> None:
    await interruption.fault.strike(mesh)
    interruption.over = time.monotonic()


def _note_losses(piece: Piece, stores: Stores) -> None:
    """Note what the stores may have lost or refused of a piece, by the times at which that happened."""
    met = [span for span in stores.lags if span.begin <= piece.ended_at and piece.sent_at <= span.end]
    piece.met_lag = bool(met)
    piece.may_be_lost = any(span.begin <= piece.named_at for span in met)
    # What was lost is made again later.
    over_at = math.inf if met else piece.ended_at
    piece.met_full = any(span.begin <= over_at and piece.sent_at <= span.end for span in stores.full)
