"""The callers: each sends an order, watches it over all interruptions, and perhaps cancels and retries it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
from tests.chaos.records import Record

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client import SegueError
from segue_client.errors import from_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.chaos.orders import Order

    from segue_client import Client, Update

BOTH = stream_pb2.AUDIO_SELECTION_BOTH
RETRY_S = 0.5
"""A caller waits this long for space."""


@dataclass
class Piece:
    """One composition of an order, and what its watchers saw."""

    order: Order
    is_retry: bool = False
    cancelled: bool = False
    """Whether its caller has asked to cancel it."""
    records: list[Record] = field(default_factory=list)
    downloads: dict[str, str] = field(default_factory=dict)
    """The digest of each downloaded file by its name."""
    sent_at: float = field(default_factory=time.monotonic)
    named_at: float = math.inf
    """When a caller received its name."""
    ended_at: float = math.inf
    """When a watcher received its end."""
    met_lag: bool = False
    """Whether a failover may have lost the end of its log; set after the run."""
    may_be_lost: bool = False
    """Whether a failover may have lost all of it."""
    met_full: bool = False
    """Whether the artifact store was full meanwhile."""

    def new_record(self, watcher: str) -> Record:
        self.records.append(Record(watcher))
        return self.records[-1]

    @property
    def names(self) -> set[str]:
        """The names that the callers received."""
        return {record.name for record in self.records if record.name}

    @property
    def ended(self) -> composition_pb2.Composition | None:
        """The final state as the latest watcher received it."""
        return next((record.finished for record in reversed(self.records) if record.finished), None)

    @property
    def is_lost(self) -> bool:
        """Whether its last reader was told that it does not exist."""
        last = self.records if self.ended is None else self.records[-1:]
        return any(error.code == grpc.StatusCode.NOT_FOUND for record in last for error in record.errors)

    @property
    def has_failed_of_space(self) -> bool:
        """Whether the store had no room for it."""
        failed = self.ended is not None and self.ended.state == composition_pb2.STATE_FAILED
        return failed and self.ended is not None and from_status(self.ended.error).reason == "STORAGE_FULL"

    def __str__(self) -> str:
        return f"{self.order}{', the retry' * self.is_retry} ({', '.join(sorted(self.names)) or 'without a name'})"


class Callers:
    """All callers of a run, and the pieces that they have so far. `heard` is called with every update."""

    def __init__(self, clients: list[Client], heard: Callable[[Update], None]) -> None:
        self._clients = itertools.cycle(clients)
        self._heard = heard
        self.pieces: list[Piece] = []

    @property
    def running(self) -> list[str]:
        """The names of accepted pieces that have not ended yet."""
        return [name for piece in self.pieces if not piece.ended and not piece.is_lost for name in piece.names]

    async def send(self, order: Order) -> None:
        """Send an order, and watch until its piece has ended."""
        piece = Piece(order)
        self.pieces.append(piece)
        records = [piece.new_record(f"caller {number}") for number in range(1, order.num_callers + 1)]
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(self._call(piece, record)) for record in records]
            group.create_task(self._watch_forgetfully(piece, calls[0]))
        for record in piece.records:
            record.seal(keep_audio=piece.cancelled)
        await self._after(piece)

    async def _after(self, piece: Piece) -> None:
        """Send an order again whose piece was lost; retry a piece that was cancelled or had no room."""
        if piece.ended is None:
            if piece.is_lost:
                await self.send(piece.order)
        elif piece.ended.state == composition_pb2.STATE_CANCELLED or piece.has_failed_of_space:
            await self._retry(piece)

    async def _call(self, piece: Piece, record: Record) -> None:
        order, client = piece.order, next(self._clients)
        with _errors_in(record):
            if order.streams:
                updates = client.compose(
                    order.spec, audio=BOTH, cancel_when_gone=order.attached, request_id=order.request_id
                )
            else:
                record.name = (await client.create(order.spec, request_id=order.request_id)).name
                piece.named_at = min(piece.named_at, time.monotonic())
                updates = client.watch(record.name, audio=BOTH, cancel_when_gone=order.attached)
            async for _ in self._taken(updates, record, piece):
                is_due = record is piece.records[0] and len(record.log) == order.cancel_after
                if is_due and not piece.cancelled:
                    piece.cancelled = True
                    await client.cancel(record.name)
            record.num_streams += updates.num_resumed

    async def _watch_forgetfully(self, piece: Piece, call: asyncio.Task[None]) -> None:
        """Watch as a program does that ends and starts again: with nothing but its last cursor."""
        while not piece.names:
            if call.done():
                return
            await asyncio.sleep(0.05)
        name, record = min(piece.names), piece.new_record("forgetful watcher")
        with _errors_in(record):
            while record.finished is None:
                client = next(self._clients)  # perhaps of another gateway
                async with client.watch(name, cursor=record.cursor, audio=BOTH) as updates:
                    left = piece.order.forget_every
                    async for _ in self._taken(updates, record, piece):
                        left -= 1
                        if not left:
                            break
                    record.num_streams += 1 + updates.num_resumed

    async def _retry(self, earlier: Piece) -> None:
        assert earlier.ended is not None
        if earlier.has_failed_of_space:
            await asyncio.sleep(RETRY_S)
        piece, client = Piece(earlier.order, is_retry=True), next(self._clients)
        record = piece.new_record("caller of the retry")
        self.pieces.append(piece)
        with _errors_in(record):
            request_id = str(uuid.uuid5(uuid.UUID(piece.order.request_id), f"retry of {earlier.ended.name}"))
            record.name = (await client.retry(earlier.ended.name, request_id=request_id)).name
            async for _ in self._taken(client.watch(record.name, audio=BOTH), record, piece):
                pass
        record.seal()
        if piece.has_failed_of_space:
            await self._retry(piece)

    async def _taken(self, updates: AsyncIterator[Update], record: Record, piece: Piece) -> AsyncIterator[None]:
        async for update in updates:
            record.take(update)
            piece.named_at = min(piece.named_at, time.monotonic())
            if record.finished is not None:
                piece.ended_at = min(piece.ended_at, time.monotonic())
            self._heard(update)
            yield


@contextlib.contextmanager
def _errors_in(record: Record) -> Iterator[None]:
    """Note an error of a stream or call. A Compose stream of a failed piece ends with the piece's own error."""
    try:
        yield
    except SegueError as error:
        if record.finished is None:
            record.errors.append(error)
