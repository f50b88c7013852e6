"""The renderer pool of one conductor process: its members, and the wait of sections for leases of slots."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_conductor.pool.channels import RendererChannels
from segue_conductor.pool.members import PoolMembers, withdraw_dead_sockets
from segue_runtime import errors, logs
from segue_runtime.store.pool.records import LeaseEnd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from prometheus_client import Histogram

    from segue.renderer.v1 import renderer_pb2_grpc
    from segue_conductor.backoff import Backoff
    from segue_runtime.rpc.admission.role_tokens import RoleAccess
    from segue_runtime.store import Pool
    from segue_runtime.store.pool.records import LinePlace, ModelKey, SectionLease, WaitingSection

LOOK_EVERY_S: Final = 0.5
LEAVE_EVERY_S: Final = 1.0
FULL: Final = (errors.QueueFull, errors.TooManyCalls, errors.LeaseUnknown)
"""Errors of a renderer that cannot take the section at the moment, because it has no room or no assignment."""
log = logs.get("conductor")


class WrongModel(errors.RenderInvalid):
    """A renderer accepted a section with another model than it had offered."""


class ModelReplaced(errors.SegueError):
    """No renderer has the model any more, but one has another version of it: the piece continues with that one."""


@dataclass(slots=True)
class RendererSlot:
    """A leased slot, while it is used."""

    lease: SectionLease
    renderer: renderer_pb2_grpc.RendererServiceAsyncStub
    speed: float = 0.0
    """The measured speed in seconds of audio a second; set by the user of the slot."""


class RendererPool:
    """Call `start` before the first lease, and `stop` at the end. `own` is the address of this process's renderer."""

    def __init__(self, addresses: Sequence[str], access: RoleAccess, pool: Pool, own: str, waits: Histogram) -> None:
        self._pool = pool
        self._own = own
        self._waits = waits
        self._members = PoolMembers(addresses, access, pool)
        self._channels = RendererChannels(access)
        self._places: Mapping[int, LinePlace] = {}
        self._looked = 0.0
        self._looking = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Find the renderers."""
        await withdraw_dead_sockets(self._pool)
        await self._members.start()

    async def stop(self) -> None:
        """Ask and call no more renderers."""
        await self._members.stop()
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        if self._own:
            with contextlib.suppress(errors.SegueError):
                await self._pool.withdraw(self._own)
        await self._channels.close()

    async def num_slots(self) -> int:
        """Return how many sections the present renderers render at once."""
        return sum(each.offer.slots for each in await self._pool.renderers() if each.offer.accepts)

    @contextlib.asynccontextmanager
    async def lease(
        self, section: WaitingSection, entered: asyncio.Event, absence: Backoff, report: Callable[[LinePlace], None]
    ) -> AsyncIterator[RendererSlot]:
        """Wait in the line for a slot, and hold it to the end of the block.

        `entered` is set when the section is in the line, and its places are reported. While no renderer has the
        model, `absence` limits the wait.
        """
        ticket = await self._pool.enter_line(section)
        entered.set()
        began = time.monotonic()
        slot: RendererSlot | None = None
        end = LeaseEnd.RELEASED
        try:
            lease = await self._wait(ticket, section.key, absence, report)
            self._waits.labels(section.key.model).observe(time.monotonic() - began)
            async with self._channels.used(lease) as stub:
                slot = RendererSlot(lease, stub)
                yield slot
            end = LeaseEnd.DONE
        except errors.SegueError as error:
            end = _end_of(error)
            raise
        finally:
            await self._leave(ticket, end, slot)

    async def _wait(
        self, ticket: int, key: ModelKey, absence: Backoff, report: Callable[[LinePlace], None]
    ) -> SectionLease:
        wait_s = LOOK_EVERY_S
        while True:
            lease = await self._pool.wait_for_lease(ticket, wait_s)
            if lease is not None:
                absence.answered()
                return lease
            wait_s = LOOK_EVERY_S
            place = await self._place(ticket)
            if place is None:
                continue
            if place.is_served:
                absence.answered()
                report(place)
            else:
                await self._refuse_replaced(key)
                missing = errors.NoRenderer(
                    "no renderer with the model answers; is one running?",
                    metadata={"service": "renderer"},
                    retry_after_s=2,
                )
                wait_s = absence.next_delay_s(missing)

    async def _refuse_replaced(self, key: ModelKey) -> None:
        served = {each.key for each in await self._pool.models() if each.is_served}
        # A renderer with this very version may have come since the look at the line.
        if key not in served and any(each.model == key.model for each in served):
            raise ModelReplaced(f"the renderers have another version of {key.model} now")

    async def _place(self, ticket: int) -> LinePlace | None:
        """Return a place that is at most as old as the time between two looks; all waiting sections share the look."""
        async with self._looking:
            if time.monotonic() - self._looked > LOOK_EVERY_S / 2:
                await self._pool.assign()
                self._places, self._looked = await self._pool.places(), time.monotonic()
        return self._places.get(ticket)

    async def _leave(self, ticket: int, end: LeaseEnd, slot: RendererSlot | None) -> None:
        speed = slot.speed if slot is not None and slot.lease.was_warm else 0.0
        try:
            await self._pool.leave_line(ticket, end, speed)
        except errors.SegueError as error:
            log.warning("a place in the line was not given back yet", reason=error.reason)
            task = asyncio.create_task(self._leave_later(ticket, end, speed))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        if slot is not None and end in {LeaseEnd.LOST, LeaseEnd.ABSENT}:
            log.warning("a renderer was lost", renderer=slot.lease.renderer, end=end.name)
            self._members.offer_again(slot.lease.renderer)

    async def _leave_later(self, ticket: int, end: LeaseEnd, speed: float) -> None:
        """Give a place back when the store works again: nobody else may have the slot before."""
        while True:
            await asyncio.sleep(LEAVE_EVERY_S)
            with contextlib.suppress(errors.SegueError):
                await self._pool.leave_line(ticket, end, speed)
                return


def is_renderers_fault(error: errors.SegueError) -> bool:
    """Return whether another renderer may succeed where one failed with this error."""
    is_lost = isinstance(error, (errors.RoleLost, errors.DeviceLost))
    return is_lost or isinstance(error, (errors.RenderInvalid, errors.InternalError, errors.OutOfMemory))


def _end_of(error: errors.SegueError) -> LeaseEnd:
    if isinstance(error, (WrongModel, errors.RoleLost, errors.DeviceLost)):
        return LeaseEnd.LOST
    if isinstance(error, FULL):
        return LeaseEnd.FULL
    if isinstance(error, (errors.ServiceUnreachable, errors.ShuttingDown)):
        return LeaseEnd.ABSENT
    return LeaseEnd.RELEASED
