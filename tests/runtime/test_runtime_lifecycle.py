"""How a process ends: in the written order, within its time, and at once when it is asked twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from segue_runtime.lifecycle import Lifecycle, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Ending:
    """A process whose steps note that they ran."""

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


async def test_the_phases_come_in_order_whatever_the_order_they_were_added_in() -> None:
    ending = Ending(5)
    for phase in (Phase.CLOSE, Phase.STOP, Phase.REFUSE, Phase.FINISH, Phase.WAIT):
        ending.add(phase)
    ending.lifecycle.ask()
    assert await ending.lifecycle.drain()
    assert ending.did == ["REFUSE", "WAIT", "FINISH", "STOP", "CLOSE"]


@pytest.mark.parametrize("phase", [Phase.REFUSE, Phase.WAIT, Phase.FINISH])
async def test_work_that_takes_too_long_is_given_back_which_is_no_failure(phase: Phase) -> None:
    ending = Ending(0.05)
    ending.add(phase, for_ever)
    ending.add(Phase.CLOSE)
    ending.lifecycle.ask()
    assert await asyncio.wait_for(ending.lifecycle.drain(), 10)
    assert ending.did == [phase.name, "CLOSE"]


async def test_a_second_wish_forces_and_closes_all_the_same() -> None:
    ending = Ending(600)
    ending.add(Phase.FINISH, for_ever)
    ending.add(Phase.STOP)
    ending.add(Phase.CLOSE)
    ending.lifecycle.ask()
    draining = asyncio.create_task(ending.lifecycle.drain())
    while "FINISH" not in ending.did:  # noqa: ASYNC110 - a step of the drain says so
        await asyncio.sleep(0)
    ending.lifecycle.ask()
    assert not await asyncio.wait_for(draining, 10)
    assert ending.did == ["FINISH", "STOP", "CLOSE"]


async def test_a_step_that_fails_is_told_and_the_others_go_on() -> None:
    ending = Ending(5)
    ending.add(Phase.FINISH, breaks)
    ending.add(Phase.STOP)
    ending.add(Phase.CLOSE)
    ending.lifecycle.ask()
    assert not await ending.lifecycle.drain()
    assert ending.did == ["FINISH", "STOP", "CLOSE"]
