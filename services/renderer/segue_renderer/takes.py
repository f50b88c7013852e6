"""Several takes of one section in one call: the events of each, as they come."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from segue_renderer.backend import RenderEvent

    TakeEvents = AsyncGenerator[RenderEvent, None]

MOST_TAKES: Final = 8
"""Of one call: the number of takes whose audio waits for the caller is bounded, too."""


async def together(takes: Sequence[TakeEvents]) -> AsyncGenerator[tuple[int, RenderEvent], None]:
    """Yield the events of all takes, each with its take's number. The first error ends all."""
    if len(takes) == 1:
        async with contextlib.aclosing(takes[0]) as events:
            async for event in events:
                yield 0, event
        return
    # One place: a take makes nothing more until the caller has taken what it has.
    arrived: asyncio.Queue[tuple[int, RenderEvent | Exception | None]] = asyncio.Queue(1)
    tasks = [asyncio.create_task(_forward(index, events, arrived)) for index, events in enumerate(takes)]
    try:
        left = len(takes)
        while left:
            index, found = await arrived.get()
            if isinstance(found, Exception):
                raise found
            if found is None:
                left -= 1
            else:
                yield index, found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _forward(
    index: int, events: TakeEvents, arrived: asyncio.Queue[tuple[int, RenderEvent | Exception | None]]
) -> None:
    try:
        async with contextlib.aclosing(events):
            async for event in events:
                await arrived.put((index, event))
    except Exception as error:  # noqa: BLE001 - the caller receives it
        await arrived.put((index, error))
    else:
        await arrived.put((index, None))
