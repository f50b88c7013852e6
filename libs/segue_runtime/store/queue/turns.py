"""Weighted turns of owners within a priority, as pure functions: the same order for every store.

Each owner has a *tag*, and the smallest tag is served. Being served costs an owner STEP divided by its weight: with a
weight of 3 it is served three times while an owner with 1 is served once. No tag is behind the *present* of the
priority, which is the smallest tag at its last turn: an owner that comes back has no turns left from before. Of equal
tags, that of the owner that was seen first is served.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

STEP: Final = 720_720
"""The cost of a turn with the weight 1. Every weight up to 16 divides it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """An owner with waiting jobs in one priority."""

    priority: int
    owner: str
    num: int
    """How many of its jobs wait."""
    tag: int
    weight: int
    number: int
    """Grows with each owner that is seen for the first time."""
    may_start: int | None = None
    """How many of its jobs of all priorities its running limit lets start; None: any number."""

    @property
    def step(self) -> int:
        """The cost of a turn."""
        return STEP // self.weight


class Turns:
    """The order of the waiting jobs at one moment: priorities from the highest, and owners in turn in each.

    Jobs that their owner's running limit holds back come last: what can start is served before them.
    """

    def __init__(self, standings: Iterable[Standing]) -> None:
        self._standings = sorted(standings, key=lambda each: (-each.priority, each.number, each.owner))
        self._of = {(each.owner, each.priority): each for each in self._standings}
        self._open: dict[tuple[str, int], int] = {}
        """How many jobs can start: higher priorities use up an owner's limit first."""
        left: dict[str, int] = {}
        for each in self._standings:
            may_start = each.num if each.may_start is None else left.setdefault(each.owner, max(0, each.may_start))
            self._open[each.owner, each.priority] = min(each.num, may_start)
            if each.may_start is not None:
                left[each.owner] = may_start - self._open[each.owner, each.priority]

    def num_open(self, owner: str, priority: int) -> int:
        """Return how many jobs of an owner in a priority can start."""
        return self._open.get((owner, priority), 0)

    def num_before(self, owner: str, priority: int, before: int) -> int:
        """Count the jobs that are served before an owner's job; `before` counts those of its owner and priority."""
        own = self._of.get((owner, priority))
        if own is None:  # an index of the store is damaged
            return before
        at = own.tag + before * own.step
        is_open = before < self._open[owner, priority]
        count = 0 if is_open else sum(self._open.values())
        for each in self._standings:
            num_open = self._open[each.owner, each.priority]
            if each.priority > priority:
                count += num_open if is_open else each.num - num_open
            elif each.priority == priority:
                earlier = before if each is own else _num_served(each, at, own.number)
                count += min(num_open, earlier) if is_open else max(0, earlier - num_open)
        return count


def _num_served(standing: Standing, at: int, number: int) -> int:
    """Count the jobs with a tag below `at`, or with an equal one if their owner was seen before another."""
    room = at - standing.tag - (standing.number > number)
    return min(standing.num, room // standing.step + 1) if room >= 0 else 0


class Waiting(Protocol):
    """A job that waits."""

    @property
    def owner(self) -> str: ...

    @property
    def priority(self) -> int: ...


W = TypeVar("W", bound=Waiting)


def in_turns(waiting: Sequence[W], standings: Sequence[Standing]) -> Iterator[W]:
    """Yield jobs, oldest first, in the order in which they will be claimed; owners without a standing are newcomers."""
    turns, known = Turns(standings), {(each.owner, each.priority): each for each in standings}
    queues: defaultdict[int, defaultdict[str, list[W]]] = defaultdict(lambda: defaultdict(list))
    for job in waiting:
        queues[job.priority][job.owner].append(job)
    held: list[W] = []
    for priority in sorted(queues, reverse=True):
        present = min((each.tag for each in standings if each.priority == priority), default=0)
        heap: list[tuple[int, int, str, int]] = []
        for place, (owner, jobs) in enumerate(queues[priority].items()):
            found = known.get((owner, priority)) or Standing(priority, owner, 0, present, 1, 1 << 62 | place)
            # A newcomer is not counted yet.
            num_open = len(jobs) if found.may_start is None else turns.num_open(owner, priority)
            held += jobs[num_open:]
            del jobs[num_open:]
            if jobs:
                heap.append((found.tag, found.number, owner, found.step))
        heapq.heapify(heap)
        while heap:
            tag, number, owner, step = heapq.heappop(heap)
            yield queues[priority][owner].pop(0)
            if queues[priority][owner]:
                heapq.heappush(heap, (tag + step, number, owner, step))
    yield from held
