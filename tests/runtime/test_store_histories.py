"""Any history of appends, kills, takeovers and cancels leaves a log that is ordered, unique and without a gap.

It has exactly one terminal event, and each watcher hears every event once.

A kill differs from a clean end: pending work is not awaited, and the store is opened again.
"""

from __future__ import annotations

import asyncio
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

from segue_runtime import errors
from segue_runtime.store import Event, Fenced, LogEnded, NewEvent, NewJob, RowMark

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.runtime.store_backends import Backend

    from segue_runtime.store import Store

NAME = "compositions/a"
LEASE_S = 10.0


@dataclass
class Claim:
    """A conductor that believes it holds the job under this epoch."""

    process: int
    epoch: int
    last: RowMark


@dataclass
class Watcher:
    """A reader with a cursor, in any process."""

    process: int
    after: int = 0
    heard: list[tuple[int, bytes]] = field(default_factory=list)


async def everything(store: Store) -> list[Event]:
    """Read to the end: pages may be short, and only an empty page means the end."""
    found: list[Event] = []
    while page := await store.read(NAME, found[-1].sequence if found else 0, 7):
        found += page
    return found


class Histories(RuleBasedStateMachine):
    """Two processes on one store, conductors that believe they hold the job, watchers, and a clock."""

    make_backend: ClassVar[Callable[..., Backend]]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = 1_000_000.0
        self.backend = self.make_backend(self.time, self.time)
        self.stores: list[Store] = []
        # The rows that the log must contain; rows of an interrupted append are uncertain until the next read.
        self.rows: list[bytes] = []
        self.finished = False
        self.cancelled = False
        self.epoch = 0
        self.lease_until = 0.0
        self.held = False
        self.claims: list[Claim] = []
        self.watchers: list[Watcher] = []
        self.number = 0

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def time(self) -> float:
        return self.now

    def open(self) -> Store:
        store: Store = self.run(self.backend(retention_s=10**6))
        return store

    @initialize()
    def begin(self) -> None:
        self.stores = [self.open(), self.open()]
        job = NewJob(
            name=NAME, kind="composition", owner="ann", spec_digest=b"d", spec=b"s", resource=b"r",
            first_events=[NewEvent("event", b"accepted")],
        )  # fmt: skip
        self.run(self.stores[0].create(job, queue_limit=10))
        self.rows = [b"accepted"]

    def payloads(self, count: int) -> list[bytes]:
        found = [b"%d" % (self.number + index) for index in range(count)]
        self.number += count
        return found

    # Actions of conductors.

    @rule(process=st.integers(0, 1))
    def claim(self, process: int) -> None:
        job = self.run(self.stores[process].claim(f"conductor-{process}", LEASE_S))
        free = not self.finished and (not self.held or self.lease_until < self.now)
        assert (job is not None) == free
        if job is not None:
            self.epoch += 1
            assert job.epoch == self.epoch
            assert (job.cancel_reason is not None) == self.cancelled
            self.held, self.lease_until = True, self.now + LEASE_S
            self.claims.append(Claim(process, job.epoch, job.last_row))

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), count=st.integers(0, 3), terminal=st.booleans())
    def append(self, data: st.DataObject, count: int, *, terminal: bool) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        payloads = self.payloads(count) + ([b"end"] if terminal else [])
        work = self.stores[claim.process].append(
            NAME, claim.epoch, [NewEvent("event", each) for each in payloads],
            after=claim.last, terminal=terminal, checkpoint=b"c",
        )  # fmt: skip
        if self.finished or not self.held or claim.epoch != self.epoch:
            with pytest.raises((Fenced, LogEnded)):
                self.run(work)
            return
        claim.last = self.run(work)
        self.rows += payloads
        assert claim.last.sequence == len(self.rows)
        if terminal:
            self.finished, self.held = True, False

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), count=st.integers(1, 4), waited=st.integers(0, 2))
    def append_and_die(self, data: st.DataObject, count: int, waited: int) -> None:
        """The process ends while it writes: afterwards all of the rows are there, or none."""
        claim = data.draw(st.sampled_from(self.claims))
        payloads = self.payloads(count)

        async def interrupted() -> None:
            events = [NewEvent("event", each) for each in payloads]
            appended = self.stores[claim.process].append(NAME, claim.epoch, events, after=claim.last)
            task = asyncio.ensure_future(appended)
            for _ in range(waited):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.run(interrupted())
        self.kill(claim.process)
        last = self.run(self.stores[1 - claim.process].get(NAME)).last_sequence
        allowed = not self.finished and self.held and claim.epoch == self.epoch
        assert last in {len(self.rows), len(self.rows) + (count if allowed else 0)}
        if last > len(self.rows):
            self.rows += payloads

    @rule(process=st.integers(0, 1))
    def kill(self, process: int) -> None:
        """Only what is stored outlives the process; its conductors and watchers are gone."""
        self.run(self.backend.kill(self.stores[process]))
        self.stores[process] = self.open()
        self.claims = [claim for claim in self.claims if claim.process != process]

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def renew_or_release(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        release = data.draw(st.booleans())
        store = self.stores[claim.process]
        work: Coroutine[Any, Any, Any] = (
            store.release(NAME, claim.epoch) if release else store.renew(NAME, claim.epoch, LEASE_S)
        )
        if self.finished or not self.held or claim.epoch != self.epoch:
            with pytest.raises(Fenced):
                self.run(work)
            return
        answer = self.run(work)
        if release:
            self.held = False
        else:
            assert answer.cancel_requested == self.cancelled
            self.lease_until = self.now + LEASE_S

    @rule(seconds=st.sampled_from([1.0, 6.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    # Actions of other callers.

    @rule(process=st.integers(0, 1))
    def cancel(self, process: int) -> None:
        job = self.run(self.stores[process].request_cancel(NAME, "user"))
        assert job.is_finished == self.finished
        self.cancelled = self.cancelled or not self.finished

    @rule(process=st.integers(0, 1))
    def watch(self, process: int) -> None:
        self.watchers.append(Watcher(process))

    @precondition(lambda self: self.watchers)
    @rule(data=st.data(), limit=st.integers(1, 9))
    def read(self, data: st.DataObject, limit: int) -> None:
        watcher = data.draw(st.sampled_from(self.watchers))
        page = self.run(self.stores[watcher.process].read(NAME, watcher.after, limit))
        assert bool(page) == (watcher.after < len(self.rows))
        watcher.heard += [(event.sequence, event.payload) for event in page]
        watcher.after = page[-1].sequence if page else watcher.after

    @rule(process=st.integers(0, 1), beyond=st.integers(1, 2**62))
    def read_beyond(self, process: int, beyond: int) -> None:
        with pytest.raises(errors.CursorAhead):
            self.run(self.stores[process].read(NAME, len(self.rows) + beyond))

    # Invariants.

    @invariant()
    def the_log_is_what_was_written(self) -> None:
        if not self.rows:
            return
        for store in self.stores:
            found = self.run(everything(store))
            assert [event.sequence for event in found] == list(range(1, len(self.rows) + 1))
            assert [event.payload for event in found] == self.rows
            job = self.run(store.get(NAME))
            assert (job.last_sequence, job.is_finished) == (len(self.rows), self.finished)
        assert self.rows.count(b"end") == self.finished
        if self.finished:
            assert self.rows[-1] == b"end"

    @invariant()
    def every_watcher_heard_everything_once(self) -> None:
        for watcher in self.watchers:
            sequences = [sequence for sequence, _ in watcher.heard]
            assert sequences == list(range(watcher.after - len(sequences) + 1, watcher.after + 1))
            assert [payload for _, payload in watcher.heard] == [self.rows[number - 1] for number in sequences]

    def teardown(self) -> None:
        self.run(self.backend.close())
        self.loop.close()


def test_every_history_leaves_a_whole_log(backend: Callable[..., Backend]) -> None:
    run_state_machine_as_test(
        histories_on(Histories, backend),
        settings=hypothesis_settings(max_examples=12, stateful_step_count=30, deadline=None),
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_very_many_histories_leave_a_whole_log(backend: Callable[..., Backend]) -> None:
    run_state_machine_as_test(
        histories_on(Histories, backend),
        settings=hypothesis_settings(max_examples=300, stateful_step_count=60, deadline=None),
    )
