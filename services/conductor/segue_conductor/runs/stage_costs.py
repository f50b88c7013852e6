"""Measures what stages of compositions, masterings, analyses and separations take, for the estimates of later ones."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from segue_composition.estimates.file_times import MEGABYTE, file_stage
from segue_composition.estimates.piece_work import MIX
from segue_runtime import errors, logs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from segue_conductor.claim import Claim
    from segue_runtime.store import Store

SHORTEST_S: Final = 1.0
"""Less audio says nothing about the cost of a second."""
LEAST_BYTES: Final = 50_000
"""A smaller file says nothing about the cost of a megabyte."""
log = logs.get("conductor")


@asynccontextmanager
async def cost_measured(claim: Claim, stage: str) -> AsyncIterator[None]:
    """Remember what the block costs, if it succeeds."""
    began = time.monotonic()
    yield
    await _add(claim, stage, time.monotonic() - began, claim.composition.plan.frames)


@dataclass(slots=True)
class MixCost:
    """The cost of mixing: from the end of the last take to the end of the draft, nothing else is waited for."""

    claim: Claim
    _began: float = field(default=0.0, init=False)
    _frames_left: int = field(default=0, init=False)

    def rendered(self) -> None:
        """Note that all takes are complete."""
        composition = self.claim.composition
        self._began = time.monotonic()
        self._frames_left = composition.plan.frames - composition.draft_frames

    async def mixed(self) -> None:
        """Remember the cost at the end of the draft."""
        await _add(self.claim, MIX, time.monotonic() - self._began, self._frames_left)


async def add_file_cost(store: Store, kind: str, source: str, took_s: float) -> None:
    """Remember what a mastering, an analysis or a separation of an upload cost; of outputs, nothing is known before."""
    with _left_out(kind):
        upload = await store.get_upload(source)
        if upload is not None and upload.offset >= LEAST_BYTES:
            await store.pool.add_cost(file_stage(kind, upload.media_type), took_s * MEGABYTE / upload.offset)


async def _add(claim: Claim, stage: str, took_s: float, frames: int) -> None:
    audio_s = frames / max(1, claim.composition.plan.sample_rate)
    if audio_s < SHORTEST_S:
        return
    with _left_out(stage):
        await claim.store.pool.add_cost(stage, took_s / audio_s)


@contextmanager
def _left_out(stage: str) -> Iterator[None]:
    """Go on after a fault of the store: estimates are no part of the work, and the next append meets the same fault."""
    try:
        yield
    except errors.SegueError as error:
        log.warning("the cost of a stage was not written", stage=stage, reason=error.reason)
