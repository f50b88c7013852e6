"""The renderer pool in the embedded store."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from segue_runtime.store.notifier import TURN_KEY, line_key
from segue_runtime.store.pool import tables, workload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from segue_runtime.store.notifier import Notifier
    from segue_runtime.store.pool.records import (
        KnownModel,
        KnownRenderer,
        LeasedSection,
        LeaseEnd,
        LinePlace,
        RendererOffer,
        SectionLease,
        WaitingSection,
    )
    from segue_runtime.store.pool.workload import Workload
    from segue_runtime.store.threads import ReaderThreads, Transaction, WriterThread

T = TypeVar("T")


class SqlitePool:
    """Pool documents the methods. Each write that may free a slot gives free slots away in the same transaction."""

    def __init__(
        self,
        writer: WriterThread,
        readers: ReaderThreads,
        notifier: Notifier,
        retention_s: float,
        run_ending: Callable[[Callable[[Transaction], None]], Awaitable[None]],
        steady_clock: Callable[[], float],
    ) -> None:
        self._writer = writer
        self._readers = readers
        self._notifier = notifier
        self._retention_s = retention_s
        self._run_ending = run_ending
        self._steady_clock = steady_clock

    async def offer(self, offered: RendererOffer, for_s: float) -> None:
        def work(tx: Transaction) -> None:
            tables.offer(tx, offered, for_s, self._retention_s)
            self._assign(tx)

        await self._writer.run(work)

    async def withdraw(self, renderer: str, stream: str = "") -> None:
        await self._writer.run(lambda tx: tables.withdraw(tx, renderer, stream))

    async def leases_at(self, renderer: str) -> tuple[int, Sequence[LeasedSection]]:
        return await self._readers.run(lambda cx: tables.leases_at(cx, self._steady_clock(), renderer))

    async def wait_for_turn(self, after: int, timeout_s: float) -> None:
        await self._notifier.wait(TURN_KEY, timeout_s, after)

    async def renderers(self) -> Sequence[KnownRenderer]:
        return await self._readers.run(lambda cx: tables.renderers(cx, self._steady_clock()))

    async def models(self) -> Sequence[KnownModel]:
        return await self._readers.run(lambda cx: tables.models(cx, self._steady_clock()))

    async def enter_line(self, section: WaitingSection) -> int:
        def work(tx: Transaction) -> int:
            ticket = tables.enter(tx, section)
            self._assign(tx)
            return ticket

        return await self._writer.run(work)

    async def wait_for_lease(self, ticket: int, timeout_s: float) -> SectionLease | None:
        found = await self._readers.run(lambda cx: tables.lease_of(cx, ticket))
        if found is not None or not await self._notifier.wait(line_key(ticket), timeout_s):
            return found
        return await self._readers.run(lambda cx: tables.lease_of(cx, ticket))

    async def leave_line(self, ticket: int, end: LeaseEnd, speed: float = 0.0) -> None:
        def work(tx: Transaction) -> None:
            tables.leave(tx, ticket, end, speed)
            self._assign(tx)

        await self._run_ending(work)

    async def places(self) -> Mapping[int, LinePlace]:
        return await self._readers.run(lambda cx: tables.places(cx, self._steady_clock()))

    async def num_waiting(self) -> Mapping[str, int]:
        return await self._readers.run(lambda cx: tables.num_waiting(cx, self._steady_clock()))

    async def add_cost(self, stage: str, cost: float) -> None:
        await self._writer.run(lambda tx: workload.add_cost(tx, stage, cost))

    async def workload(self, kind: str) -> Workload:
        return await self._readers.run(lambda cx: workload.workload(cx, kind, self._steady_clock()))

    async def assign(self) -> None:
        await self._writer.run(self._assign)

    def _assign(self, tx: Transaction) -> None:
        given = tables.assign(tx)
        for key in [TURN_KEY, *(line_key(ticket) for ticket in given)] if given else []:
            tx.after_commit.append(partial(self._notifier.notify, key))
