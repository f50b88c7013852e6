"""The shutdown of a process: in order, within its time, and at once after a second request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from segue_runtime.lifecycle import Lifecycle, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Ending:
    """A process whose steps record that they ran."""

    def __init__(self, drain_s: float) -> None:
        self.lifecycle = Lifecycle(drain_s)
        self.did: list[str] = []

    def add(self, phase: Phase, work: Callable[[], Coroutine[object, object, object]] | None = None) -> None:
        async def step(_left_s: float) -> None:
            self.did.append(phase.name)
            if work is not None:
                await work()

        self.lifecycle.add(phase, phase.name, step)


async def for_ever() -> None:
    await asyncio.Event().wait()


async def breaks() -> None:
    message = "it broke"
    raise ValueError(message)


async def test_the_phases_run_in_order_however_they_were_added() -> None:
    ending = Ending(5)
    for phase in (Phase.CLOSE, Phase.STOP, Phase.REFUSE, Phase.FINISH, Phase.WAIT):
        ending.add(phase)
    ending.lifecycle.request_stop()
    assert await ending.lifecycle.drain()
    assert ending.did == ["REFUSE", "WAIT", "FINISH", "STOP", "CLOSE"]


@pytest.mark.parametrize("phase", [Phase.REFUSE, Phase.WAIT, Phase.FINISH])
async def test_unfinished_work_returns_to_the_queue_without_a_failure(phase: Phase) -> None:
    ending = Ending(0.05)
    ending.add(phase, for_ever)
    ending.add(Phase.CLOSE)
    ending.lifecycle.request_stop()
    assert await asyncio.wait_for(ending.lifecycle.drain(), 10)
    assert ending.did == [phase.name, "CLOSE"]


async def test_a_second_request_forces_the_shutdown_and_still_closes() -> None:
    ending = Ending(600)
    ending.add(Phase.FINISH, for_ever)
    ending.add(Phase.STOP)
    ending.add(Phase.CLOSE)
    ending.lifecycle.request_stop()
    draining = asyncio.create_task(ending.lifecycle.drain())
    while "FINISH" not in ending.did:  # noqa: ASYNC110 - a step of the drain says so
        await asyncio.sleep(0)
    ending.lifecycle.request_stop()
    assert not await asyncio.wait_for(draining, 10)
    assert ending.did == ["FINISH", "STOP", "CLOSE"]


async def test_a_failed_step_is_reported_and_the_others_continue() -> None:
    ending = Ending(5)
    ending.add(Phase.FINISH, breaks)
    ending.add(Phase.STOP)
    ending.add(Phase.CLOSE)
    ending.lifecycle.request_stop()
    assert not await ending.lifecycle.drain()
    assert ending.did == ["FINISH", "STOP", "CLOSE"]
