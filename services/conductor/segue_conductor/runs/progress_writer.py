"""Writes the progress of a run into the store while it works."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from segue_composition import log_rows
from segue_runtime import errors, logs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue_conductor.claim import Claim

PROGRESS_EVERY_S: Final = 0.5
log = logs.get("conductor")


@contextlib.asynccontextmanager
async def progress_written(claim: Claim) -> AsyncIterator[None]:
    """Write new progress twice a second until the block ends."""
    task = asyncio.create_task(_write(claim))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _write(claim: Claim) -> None:
    if claim.journal.epoch > 1:
        # An earlier claim may have ended while it waited.
        claim.progress.sent_waiting_for = "?"
    while True:
        await asyncio.sleep(PROGRESS_EVERY_S)
        newest = claim.progress.take_news(claim.composition)
        if newest:
            try:
                await claim.store.set_progress(claim.journal.name, claim.journal.epoch, log_rows.pack(newest))
            except errors.SegueError as error:
                # Progress is not part of the piece. The next append to the log meets the same fault.
                log.warning("progress was not written", reason=error.reason)
