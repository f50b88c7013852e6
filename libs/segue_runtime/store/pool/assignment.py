"""Who renders what next: gives free slots of renderers to waiting sections, fairly and near sections first.

Pure functions over a snapshot of the pool. Owners with the fewest leases for their weight come first, then weighted
turns as in the queue (`segue_runtime.store.queue.turns`); within an owner, the section that its listener needs first.
"""

from __future__ import annotations

import heapq
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from segue_runtime.store.pool.records import LinePlace, Warmth
from segue_runtime.store.queue.turns import STEP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from segue_runtime.store.pool.records import ModelKey, OfferedModel, RendererOffer

UNKNOWN_LOAD_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class LineRow:
    """A section in the line: waiting, or leased to a renderer."""

    ticket: int
    owner: str
    key: ModelKey
    due: float
    audio_s: float
    excluded: frozenset[str]
    renderer: str | None = None
    weight: int = 1
    """The weight of its owner."""


@dataclass(frozen=True, slots=True)
class PoolMember:
    """A present renderer."""

    offer: RendererOffer
    is_resting: bool = False
    """Whether it gets no sections for a while."""


@dataclass(frozen=True)
class Snapshot:
    """The pool at one moment."""

    members: Sequence[PoolMember]
    rows: Sequence[LineRow]
    served: Mapping[str, int] = field(default_factory=dict[str, int])
    """The tag of each owner when it was served last."""
    speeds: Mapping[tuple[ModelKey, str], Sequence[float]] = field(
        default_factory=dict["tuple[ModelKey, str]", "Sequence[float]"]
    )
    """Measured speeds, by model and renderer."""


@dataclass(frozen=True, slots=True)
class Given:
    """A slot that was given to a waiting section."""

    row: LineRow
    renderer: str
    was_warm: bool
    tag: int
    """The tag of its owner when it was served."""


@dataclass(slots=True)
class _Slots:
    """The free slots of one model at one renderer."""

    member: PoolMember
    model: OfferedModel
    warmth: Warmth


class Assignment:
    """The assignment of one snapshot's free slots."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._present = max(snapshot.served.values(), default=0)
        self._weights = {row.owner: row.weight for row in snapshot.rows}
        self._tags = {owner: snapshot.served[owner] + self._step(owner) for owner in snapshot.served}
        self._leased_by_owner: Counter[str] = Counter()
        self._leased_at: Counter[str] = Counter()
        self._leased_of: Counter[tuple[str, ModelKey]] = Counter()
        self._work: defaultdict[ModelKey, float] = defaultdict(float)
        """The audio of each model that is rendered or comes before the next section in the line."""
        self._slots: defaultdict[ModelKey, list[_Slots]] = defaultdict(list)
        for member in snapshot.members:
            for model in member.offer.models if member.offer.accepts else ():
                self._slots[model.key].append(_Slots(member, model, model.warmth))
        self._speeds = dict(self._known_speeds())
        self._speeds_at = {key: statistics.median(speeds) for key, speeds in snapshot.speeds.items() if speeds}
        for row in snapshot.rows:
            if row.renderer is not None:
                self._lease(row, row.renderer)
                self._work[row.key] += row.audio_s / 2  # on average, half of it is left

    def give(self) -> Iterator[Given]:
        """Give every waiting section that can have a free slot its slot."""
        waiting = self._waiting()
        while waiting:
            owner = min(waiting, key=self._rank)
            given = self._serve(waiting[owner])
            if given is None:
                del waiting[owner]  # free slots only become fewer
            else:
                yield given

    def places(self) -> dict[int, LinePlace]:
        """Return the place of every section that waits, by ticket, in the order in which they will be served."""
        waiting = self._waiting()
        heap = [self._rank(owner) for owner in waiting]
        heapq.heapify(heap)
        present = self._present
        before: Counter[ModelKey] = Counter()
        work = dict(self._work)
        found: dict[int, LinePlace] = {}
        while heap:
            share, tag, owner = heapq.heappop(heap)
            present = max(present, tag)
            row = waiting[owner].pop(0)
            before[row.key] += 1
            ahead_s = work.get(row.key, 0.0)
            found[row.ticket] = LinePlace(
                before[row.key], self._wait_s(row.key, ahead_s), is_served=bool(self._slots.get(row.key))
            )
            work[row.key] = ahead_s + row.audio_s
            if waiting[owner]:
                tag = max(present, tag + self._step(owner))
                heapq.heappush(heap, (share + 1 / self._weights[owner], tag, owner))
        return found

    def speed(self, key: ModelKey) -> float:
        """Return the median of a model's measured speeds, else of the declared ones; 0 if neither is known."""
        return self._speeds.get(key, 0.0)

    def _known_speeds(self) -> Iterator[tuple[ModelKey, float]]:
        measured: defaultdict[ModelKey, list[float]] = defaultdict(list)
        for (key, _), speeds in self._snapshot.speeds.items():
            measured[key] += speeds
        for key in {*measured, *self._slots}:
            declared = [each.model.speed for each in self._slots.get(key, ()) if each.model.speed > 0]
            speeds = measured.get(key) or declared
            if speeds:
                yield key, statistics.median(speeds)

    def _waiting(self) -> dict[str, list[LineRow]]:
        waiting: dict[str, list[LineRow]] = {}
        for row in sorted(self._snapshot.rows, key=lambda row: (row.due, row.ticket)):
            if row.renderer is None:
                waiting.setdefault(row.owner, []).append(row)
        return waiting

    def _rank(self, owner: str) -> tuple[float, int, str]:
        return (self._leased_by_owner[owner] / self._weights[owner], self._tag(owner), owner)

    def _tag(self, owner: str) -> int:
        return max(self._present, self._tags.get(owner, 0))

    def _step(self, owner: str) -> int:
        return STEP // self._weights.get(owner, 1)

    def _serve(self, rows: list[LineRow]) -> Given | None:
        """Give the owner's first section that can have a slot its slot, and drop the ones that cannot."""
        while rows:
            row = rows.pop(0)
            slots = self._choose(row)
            if slots is None:
                self._work[row.key] += row.audio_s
                continue
            renderer = slots.member.offer.renderer
            self._lease(row, renderer)
            self._work[row.key] += row.audio_s
            tag = self._present = self._tag(row.owner)
            self._tags[row.owner] = tag + self._step(row.owner)
            return Given(row, renderer, slots.warmth is Warmth.WARM, tag)
        return None

    def _lease(self, row: LineRow, renderer: str) -> None:
        self._leased_by_owner[row.owner] += 1
        self._leased_at[renderer] += 1
        self._leased_of[renderer, row.key] += 1

    def _choose(self, row: LineRow) -> _Slots | None:
        """Return the best free slot for a section, or None if it must wait."""
        offered = self._slots.get(row.key, [])
        allowed = [each for each in offered if each.member.offer.renderer not in row.excluded] or offered
        free = [each for each in allowed if self._num_free(each) > 0]
        if not free:
            return None
        best = min(free, key=self._preference)
        if self._warmth(best) is Warmth.WARM or not any(self._warmth(each) is Warmth.WARM for each in allowed):
            return best
        wait_s = self._wait_s(row.key, self._work[row.key])
        load_s = UNKNOWN_LOAD_S if best.model.load_s is None else best.model.load_s
        return best if wait_s is not None and wait_s > load_s else None

    def _preference(self, slots: _Slots) -> tuple[int, float, float, str]:
        offer = slots.member.offer
        share = self._num_free(slots) / max(1, slots.model.slots)
        speed = self._speeds_at.get((slots.model.key, offer.renderer)) or self.speed(slots.model.key)
        return (self._warmth(slots), -share, -speed, offer.renderer)

    def _warmth(self, slots: _Slots) -> Warmth:
        """Return the state of a model; a cold one with a lease is being loaded."""
        leased = self._leased_of[slots.member.offer.renderer, slots.model.key]
        return Warmth.LOADING if slots.warmth is Warmth.COLD and leased else slots.warmth

    def _num_free(self, slots: _Slots) -> int:
        if slots.member.is_resting:
            return 0
        offer = slots.member.offer
        leased = self._leased_of[offer.renderer, slots.model.key]
        return min(slots.model.slots - leased, offer.slots - self._leased_at[offer.renderer])

    def _wait_s(self, key: ModelKey, ahead_s: float) -> float | None:
        """Return the time until the audio ahead of a section is rendered by the warm slots of its model."""
        slots = self._slots.get(key, ())
        num_slots = sum(
            min(each.model.slots, each.member.offer.slots) for each in slots if self._warmth(each) is Warmth.WARM
        ) or sum(min(each.model.slots, each.member.offer.slots) for each in slots)
        speed = self.speed(key)
        return ahead_s / (speed * num_slots) if speed and num_slots else None
