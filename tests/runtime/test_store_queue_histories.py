"""Any history of jobs, claims, ends and limits: every store claims the job that a plain model of the order claims.

The positions are the order of the claims that follow if nothing else happens; jobs that a running limit holds back
come last.
"""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.runtime.store_backends import histories_on
from tests.runtime.store_rows import LEASE_S, append, job, rows

from segue_runtime.store import Share

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.runtime.store_backends import Backend

    from segue_runtime.store import Store

STEP = 720_720
OWNERS = ("ann", "bob", "cy")
KINDS = ("composition", "analysis")


@dataclass
class Model:
    """The order of the queue, in the plainest way: everything is looked at for each claim."""

    waiting: list[tuple[str, str, str, int]] = field(default_factory=list[tuple[str, str, str, int]])
    """Name, kind, owner and priority, oldest first."""
    running: dict[str, tuple[str, str, int]] = field(default_factory=dict[str, tuple[str, str, int]])
    """Kind, owner and priority by name."""
    ending: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Names and kinds of cancelled jobs that nobody holds, oldest first."""
    cancelled: set[str] = field(default_factory=set[str])
    owners: dict[str, Share] = field(default_factory=dict[str, Share])
    """In the order in which they were seen first."""
    served: dict[tuple[int, str], int] = field(default_factory=dict[tuple[int, str], int])
    present: dict[int, int] = field(default_factory=dict[int, int])

    def may_start(self, owner: str) -> bool:
        limit = self.owners[owner].running
        running = [name for name, (_, of, _) in self.running.items() if of == owner and name not in self.cancelled]
        return limit is None or len(running) < limit

    def claim(self, kinds: tuple[str, ...]) -> str | None:
        for name, kind in self.ending:
            if kind in kinds:
                self.ending.remove((name, kind))
                self.running[name] = (kind, "", 0)
                return name
        for priority in (3, 2, 1):
            tags: dict[str, tuple[int, int]] = {}
            for number, (owner, share) in enumerate(self.owners.items()):
                if self.may_start(owner) and any(of == owner and at == priority for _, _, of, at in self.waiting):
                    served = self.served.get((priority, owner))
                    tag = 0 if served is None else served + STEP // share.weight
                    tags[owner] = (max(self.present.get(priority, 0), tag), number)
            for owner in sorted(tags, key=tags.__getitem__):
                for each in self.waiting:
                    name, kind, of, at = each
                    if of == owner and at == priority and kind in kinds:
                        self.present[priority] = max(self.present.get(priority, 0), min(tags.values())[0])
                        self.served[priority, owner] = tags[owner][0]
                        self.waiting.remove(each)
                        self.running[name] = (kind, owner, priority)
                        return name
        return None

    def positions(self) -> dict[str, int]:
        """Return the positions of what can be claimed."""
        later, order = copy.deepcopy(self), list[str]()
        while (name := later.claim(KINDS)) is not None:
            order.append(name)
        return {name: place for place, name in enumerate(order, start=1)}


class QueueHistories(RuleBasedStateMachine):
    make_backend: ClassVar[Callable[..., Backend]]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = 1000.0
        self.backend: Backend = self.make_backend(self.time, self.time)
        self.model = Model()
        self.epochs: dict[str, int] = {}
        self.ids: dict[str, int] = {}

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def time(self) -> float:
        return self.now

    @initialize()
    def begin(self) -> None:
        self.stores: list[Store] = [self.run(self.backend(retention_s=10**6)) for _ in range(2)]

    @rule(
        process=st.integers(0, 1),
        owner=st.sampled_from(OWNERS),
        kind=st.sampled_from(KINDS),
        priority=st.integers(1, 3),
        weight=st.sampled_from([1, 1, 2, 3, 7]),
        running=st.sampled_from([None, None, 0, 1, 2]),
        num=st.integers(1, 3),
    )
    def create(
        self, process: int, owner: str, kind: str, priority: int, weight: int, running: int | None, num: int
    ) -> None:
        share = Share(weight, running)
        for _ in range(num):
            name = f"compositions/{len(self.ids)}"
            self.ids[name] = len(self.ids)
            new = job(name, owner, kind=kind, priority=priority, share=share)
            self.run(self.stores[process].create(new, queue_limit=1000))
            self.model.owners[owner] = share
            self.model.waiting.append((name, kind, owner, priority))

    @rule(process=st.integers(0, 1), kinds=st.sampled_from([KINDS, KINDS[:1], KINDS[1:]]), num=st.integers(1, 4))
    def claim(self, process: int, kinds: tuple[str, ...], num: int) -> None:
        for _ in range(num):
            claimed = self.run(self.stores[process].claim("c1", LEASE_S, kinds if kinds != KINDS else ()))
            assert (claimed.name if claimed else None) == self.model.claim(kinds)
            if claimed:
                self.epochs[claimed.name] = claimed.epoch

    @precondition(lambda self: self.model.running)
    @rule(data=st.data(), process=st.integers(0, 1))
    def end_or_release(self, data: st.DataObject, process: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.running)))
        store = self.stores[process]
        kind, owner, priority = self.model.running.pop(name)
        if data.draw(st.booleans()):
            self.run(append(store, name, self.epochs[name], rows(b"end"), terminal=True))
            return
        self.run(store.release(name, self.epochs[name]))
        if name in self.model.cancelled:
            self.model.ending.append((name, kind))
            self.model.ending.sort(key=lambda each: self.ids[each[0]])
        else:
            self.model.waiting.append((name, kind, owner, priority))
            self.model.waiting.sort(key=lambda each: self.ids[each[0]])

    @precondition(lambda self: self.model.waiting or self.model.running)
    @rule(data=st.data(), process=st.integers(0, 1))
    def cancel(self, data: st.DataObject, process: int) -> None:
        waiting = {name: (name, kind, owner, priority) for name, kind, owner, priority in self.model.waiting}
        name = data.draw(st.sampled_from(sorted(waiting | self.model.running)))
        self.run(self.stores[process].request_cancel(name, "user"))
        self.model.cancelled.add(name)
        if name in waiting:
            self.model.waiting.remove(waiting[name])
            self.model.ending.append((name, waiting[name][1]))
            self.model.ending.sort(key=lambda each: self.ids[each[0]])

    @invariant()
    def positions_are_the_order_of_the_claims(self) -> None:
        names = [name for name, *_ in self.model.waiting] + [name for name, _ in self.model.ending]
        found = [self.run(store.queue_positions(names)) for store in self.stores]
        promised = self.model.positions()
        for positions in found:
            assert sorted(positions.values()) == list(range(1, len(names) + 1))
            assert {name: positions[name] for name in promised} == promised

    def teardown(self) -> None:
        self.run(self.backend.close())
        self.loop.close()


def test_every_history_is_served_in_the_order_of_the_model(backend: Callable[..., Backend]) -> None:
    run_state_machine_as_test(
        histories_on(QueueHistories, backend),
        settings=hypothesis_settings(max_examples=12, stateful_step_count=20, deadline=None),
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_very_many_histories_are_served_in_the_order_of_the_model(backend: Callable[..., Backend]) -> None:
    run_state_machine_as_test(
        histories_on(QueueHistories, backend),
        settings=hypothesis_settings(max_examples=400, stateful_step_count=50, deadline=None),
    )
