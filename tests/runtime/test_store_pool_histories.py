"""Any history of offers, waiting sections, leases, kills and losses keeps the rules of the line.

No slot is given twice, none stays free while a section could have it, owners are served in turn, near sections come
first, and the leases of a killed conductor vanish.
"""

from __future__ import annotations

import asyncio
from collections import Counter
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
from tests.runtime.store_rows import create

from segue_runtime.store import Fenced
from segue_runtime.store.pool.records import LeaseEnd, ModelKey, OfferedModel, RendererOffer, WaitingSection

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.runtime.store_backends import Backend

    from segue_runtime.store import Store

LEASE_S = 10.0
OWNERS = ("ann", "bob", "cid")
KEYS = (ModelKey("band"), ModelKey("gen", "d1", "1"))
RENDERERS = ("r1", "r2", "r3")


@dataclass
class Piece:
    """A job that a conductor holds; after its end the conductor does not know that."""

    name: str
    owner: str
    epoch: int
    lease_until: float


@dataclass
class Entry:
    """A section that is in the line, or has a lease."""

    piece: Piece
    key: ModelKey
    due: float
    excluded: frozenset[str]
    renderer: str = ""


@dataclass
class Present:
    """A renderer as it offered itself last."""

    slots: dict[ModelKey, int]
    total: int
    until: float
    rests_until: float = 0.0


@dataclass
class Model:
    """What the line must look like."""

    pieces: list[Piece] = field(default_factory=list)
    entries: dict[int, Entry] = field(default_factory=dict)
    renderers: dict[str, Present] = field(default_factory=dict)
    losses: Counter[str] = field(default_factory=Counter)


class LineHistories(RuleBasedStateMachine):
    """Two processes on one store."""

    make_backend: ClassVar[Callable[..., Backend]]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = 5000.0
        self.backend = self.make_backend(self.time, self.time)
        self.stores: list[Store] = []
        self.model = Model()
        self.number = 0

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        for _ in range(2):
            self.stores.append(self.run(self.backend(retention_s=10**6)))

    def time(self) -> float:
        return self.now

    # What the model knows.

    def live(self) -> dict[int, Entry]:
        return {
            ticket: entry
            for ticket, entry in self.model.entries.items()
            if entry.piece in self.model.pieces and self.now <= entry.piece.lease_until
        }

    def serving(self, key: ModelKey) -> list[str]:
        return [name for name, each in self.model.renderers.items() if self.now <= each.until and key in each.slots]

    def allowed(self, entry: Entry) -> list[str]:
        serving = self.serving(entry.key)
        return [name for name in serving if name not in entry.excluded] or serving

    def has_room(self, renderer: str, key: ModelKey) -> bool:
        present = self.model.renderers[renderer]
        leased = [entry.key for entry in self.live().values() if entry.renderer == renderer]
        rests = self.now < present.rests_until
        return not rests and len(leased) < present.total and leased.count(key) < present.slots[key]

    def observe(self) -> None:
        """Read who got a lease, and check that each was right."""
        found = {
            ticket: self.run(self.stores[ticket % 2].pool.wait_for_lease(ticket, 0))
            for ticket, entry in self.live().items()
            if not entry.renderer
        }
        given = {ticket: lease.renderer for ticket, lease in found.items() if lease is not None}
        for ticket, renderer in given.items():
            assert renderer in self.allowed(self.model.entries[ticket])
        for ticket, renderer in given.items():
            # One after the other: no slot is given twice.
            assert self.has_room(renderer, self.model.entries[ticket].key)
            self.model.entries[ticket].renderer = renderer
        self.check_order(given)

    def check_order(self, given: dict[int, str]) -> None:
        live = self.live()
        leased = Counter(entry.piece.owner for entry in live.values() if entry.renderer)
        for entry in live.values():
            if entry.renderer:
                continue
            # No slot stays free that it could have.
            assert not any(self.has_room(renderer, entry.key) for renderer in self.allowed(entry))
            for ticket in given:
                other = self.model.entries[ticket]
                if other.key != entry.key or entry.excluded:
                    continue
                if other.piece.owner == entry.piece.owner:
                    assert other.due <= entry.due
                else:
                    assert leased[other.piece.owner] - 1 <= leased[entry.piece.owner]

    # Renderers.

    @rule(
        process=st.integers(0, 1),
        renderer=st.sampled_from(RENDERERS),
        slots=st.dictionaries(st.sampled_from(KEYS), st.integers(1, 3), min_size=1),
        total=st.integers(1, 4),
    )
    def offer(self, process: int, renderer: str, slots: dict[ModelKey, int], total: int) -> None:
        rests_until = self.model.renderers[renderer].rests_until if renderer in self.model.renderers else 0.0
        self.model.renderers[renderer] = Present(slots, total, self.now + 20, rests_until)
        models = [OfferedModel(key, num) for key, num in slots.items()]
        self.run(self.stores[process].pool.offer(RendererOffer(renderer, f"{renderer}:1", total, models), 20))
        self.observe()

    @rule(renderer=st.sampled_from(RENDERERS))
    def withdraw(self, renderer: str) -> None:
        self.run(self.stores[0].pool.withdraw(renderer))
        if renderer in self.model.renderers:
            self.model.renderers[renderer].until = self.now - 1

    # Conductors.

    @rule(owner=st.sampled_from(OWNERS))
    def claim(self, owner: str) -> None:
        self.number += 1
        name = f"compositions/{self.number}"
        self.run(create(self.stores[0], name, owner))
        claimed = self.run(self.stores[0].claim_one(name, "conductor", LEASE_S))
        self.model.pieces.append(Piece(name, owner, claimed.epoch, self.now + LEASE_S))

    @precondition(lambda self: self.model.pieces)
    @rule(
        data=st.data(),
        key=st.sampled_from(KEYS),
        due_in_s=st.integers(-100, 100),
        excluded=st.frozensets(st.sampled_from(RENDERERS), max_size=2),
    )
    def enter(self, data: st.DataObject, key: ModelKey, due_in_s: int, excluded: frozenset[str]) -> None:
        piece = data.draw(st.sampled_from(self.model.pieces))
        section = WaitingSection(piece.name, piece.epoch, "s", key, due_in_s, audio_s=10, excluded=excluded)
        ticket = self.run(self.stores[data.draw(st.integers(0, 1))].pool.enter_line(section))
        assert ticket not in self.model.entries
        self.model.entries[ticket] = Entry(piece, key, self.now + due_in_s, excluded)
        self.observe()

    @precondition(lambda self: self.model.entries)
    @rule(data=st.data(), end=st.sampled_from(LeaseEnd))
    def leave(self, data: st.DataObject, end: LeaseEnd) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.model.entries)))
        self.run(self.stores[data.draw(st.integers(0, 1))].pool.leave_line(ticket, end, 2.0))
        renderer = self.model.entries.pop(ticket).renderer
        if renderer:
            self.note(renderer, end)
        self.observe()

    def note(self, renderer: str, end: LeaseEnd) -> None:
        present = self.model.renderers[renderer]
        if end is LeaseEnd.DONE:
            self.model.losses[renderer] = 0
        elif end is LeaseEnd.FULL:
            present.rests_until = self.now + 1
        elif end in {LeaseEnd.ABSENT, LeaseEnd.LOST}:
            present.until = self.now - 1
            self.model.losses[renderer] += end is LeaseEnd.LOST
            if end is LeaseEnd.LOST and self.model.losses[renderer] >= 3:
                present.rests_until = self.now + min(60.0, 2.0 ** (self.model.losses[renderer] - 2))

    @precondition(lambda self: self.model.pieces)
    @rule(data=st.data())
    def renew_or_release(self, data: st.DataObject) -> None:
        piece = data.draw(st.sampled_from(self.model.pieces))
        if data.draw(st.booleans()):
            self.run(self.stores[0].renew(piece.name, piece.epoch, LEASE_S))
            piece.lease_until = self.now + LEASE_S
        else:
            self.run(self.stores[0].release(piece.name, piece.epoch))
            self.model.pieces.remove(piece)
            self.run(self.stores[1].pool.assign())
            for ticket in [ticket for ticket, entry in self.model.entries.items() if entry.piece is piece]:
                del self.model.entries[ticket]
                with pytest.raises(Fenced):
                    self.run(self.stores[0].pool.wait_for_lease(ticket, 0))
            with pytest.raises(Fenced):
                self.run(
                    self.stores[0].pool.enter_line(WaitingSection(piece.name, piece.epoch, "s", KEYS[0], 0, audio_s=1))
                )
        self.run(self.stores[1].pool.assign())
        self.observe()

    @rule(seconds=st.sampled_from([0.5, 3.0, 11.0, 25.0]))
    def time_passes(self, seconds: float) -> None:
        """A conductor that does not renew its leases in time counts as killed, until it does."""
        self.now += seconds
        self.run(self.stores[0].pool.assign())
        self.observe()

    @invariant()
    def places_are_ranks(self) -> None:
        if not self.stores:
            return
        places = self.run(self.stores[0].pool.places())
        waiting = {ticket: entry for ticket, entry in self.live().items() if not entry.renderer}
        assert set(places) == set(waiting)
        for key in KEYS:
            positions = sorted(places[ticket].position for ticket, entry in waiting.items() if entry.key == key)
            assert positions == list(range(1, len(positions) + 1))
        for ticket, entry in waiting.items():
            assert places[ticket].is_served == bool(self.serving(entry.key))

    @invariant()
    def leases_are_counted(self) -> None:
        if not self.stores:
            return
        leased = Counter(entry.renderer for entry in self.live().values() if entry.renderer)
        present = self.run(self.stores[1].pool.renderers())
        assert {each.offer.renderer: each.num_leases for each in present} == {
            name: leased[name] for name, each in self.model.renderers.items() if self.now <= each.until
        }

    def teardown(self) -> None:
        self.run(self.backend.close())
        self.loop.close()


def test_every_history_keeps_the_rules_of_the_line(backend: Callable[..., Backend]) -> None:
    run_state_machine_as_test(
        histories_on(LineHistories, backend),
        settings=hypothesis_settings(max_examples=12, stateful_step_count=30, deadline=None),
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_very_many_histories_keep_the_rules_of_the_line(backend: Callable[..., Backend]) -> None:
    run_state_machine_as_test(
        histories_on(LineHistories, backend),
        settings=hypothesis_settings(max_examples=300, stateful_step_count=60, deadline=None),
    )
