"""Checks of slots: cancelled calls free them, and waiting calls receive their position in the queue."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import grpc.aio

from segue_renderer.conformance import examples
from segue_renderer.conformance.check import Check
from segue_renderer.conformance.outcome import CheckFailed, CheckSkipped, require
from segue_renderer.conformance.profile_checks import seconds
from segue_runtime import errors

if TYPE_CHECKING:
    from segue_music.plan import SectionSpec
    from segue_renderer.conformance.target import Target

LONG_S: Final = 600.0
FREE_WITHIN_S: Final = 30.0
MOST_SLOTS: Final = 32
WAITING: Final = 2


async def cancel(target: Target) -> str:
    """A cancelled call frees its slot, long before its section would be complete."""
    await target.require_idle()
    call = target.call(target.start_of(long_section(target)))
    try:
        await read_until_playing(call)
        status = await target.busy()
        require(status.busy_slots >= 1, "no slot is busy while a section is rendered")
    finally:
        call.cancel()
    took_s = await until_idle(target)
    rendering = await target.render(target.start_of(examples.section(bars=1)))
    require(rendering.kinds[-1:] == ["finished"], "the next call does not finish")
    return f"free after {took_s:.2f} s"


async def queue(target: Target) -> str:
    """Calls beyond the slots wait, receive their position, and begin when a slot is free."""
    await target.require_idle()
    await target.base()  # a model that was not loaded has its slots now
    slots, _ = target.slots_of(await target.busy())
    if slots > MOST_SLOTS:
        raise CheckSkipped(f"the model has {slots} slots; the check fills at most {MOST_SLOTS}")
    start = target.start_of(long_section(target))
    running = [target.call(start) for _ in range(slots)]
    waiting: list[Any] = []
    try:
        await asyncio.gather(*(read_until_playing(call) for call in running))
        waiting = [target.call(start) for _ in range(WAITING)]
        positions = await asyncio.gather(*(accepted_position(call) for call in waiting))
        require(sorted(positions) == [1, 2], f"waiting calls are accepted at the positions {sorted(positions)}")
        status = await target.busy()
        require(status.queued == WAITING, f"status reports {status.queued} waiting calls, {WAITING} wait")
        _, busy = target.slots_of(status)
        require(busy == slots, f"status reports {busy} of {slots} slots as busy")
        first = waiting[positions.index(1)]
        update = await read_until(first, "progress")
        require(update.queue_position == 1, f"progress says position {update.queue_position}, accepted said 1")
        running[0].cancel()
        await read_until_playing(first)
    finally:
        for call in (*running, *waiting):
            call.cancel()
    await until_idle(target)
    return f"{slots} slot(s), positions 1 and 2"


async def accepted_position(call: Any) -> int:
    """Return the position with which a call is accepted."""
    try:
        accepted = await read_until(call, "accepted")
    except grpc.aio.AioRpcError as error:
        refusal = errors.from_rpc_error(error)
        if refusal.reason == "QUEUE_FULL":
            raise CheckSkipped(f"the renderer queues no call: {refusal.message}") from error
        raise
    return int(accepted.queue_position)


def long_section(target: Target) -> SectionSpec:
    """Return a section that takes long to render: ten minutes, or the model's longest."""
    longest = seconds(target.profile.max_duration) if target.profile.HasField("max_duration") else LONG_S
    return examples.section(bars=max(1, int(min(LONG_S, longest) / examples.BAR_S)))


async def read_until(call: Any, kind: str) -> Any:
    """Read on until a message of a kind comes."""
    async for message in call:
        if message.WhichOneof("message") == kind:
            return getattr(message, kind)
    raise CheckFailed(f"the answer ended without {kind}")


async def read_until_playing(call: Any) -> None:
    """Read on until the section has a slot: its audio comes, or progress without a position in the queue."""
    async for message in call:
        kind = message.WhichOneof("message")
        if kind == "audio" or (kind == "progress" and not message.progress.queue_position):
            return
    raise CheckFailed("the answer ended before the section was rendered")


async def until_idle(target: Target) -> float:
    """Wait until no slot is busy and no call waits; return the seconds."""
    began = time.monotonic()
    while (status := await target.busy()).busy_slots or status.queued:
        if time.monotonic() - began > FREE_WITHIN_S:
            raise CheckFailed(f"cancelled calls still hold their slots after {FREE_WITHIN_S:g} s")
        await asyncio.sleep(0.02)
    return time.monotonic() - began


CHECKS: Final = (
    Check("cancel", "a cancelled call frees its slot", cancel),
    Check("queue", "calls beyond the slots wait and receive their position", queue),
)
