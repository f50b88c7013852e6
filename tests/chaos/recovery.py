"""How long pieces stand still for each fault: the longest pause between two events of a piece until it is over."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.chaos.faults.fault import Fault

    from segue_client import Update


class Pause(NamedTuple):
    """A pause between two events of a piece."""

    seconds: float
    name: str
    after: str
    before: str

    def __str__(self) -> str:
        return f"the longest pause: {self.seconds:.1f} s, between {self.after} and {self.before} of {self.name}"


@dataclass
class Interruption:
    """One fault, and the pieces in work that have not had an event since its end."""

    fault: Fault
    last_event: dict[str, float]
    """The time of the last event of each piece, or of the fault's beginning."""
    longest_s: dict[str, float] = field(default_factory=dict)
    """The longest pause of each piece so far."""
    over: float = math.inf
    """When the fault was over."""
    pauses_s: list[float] = field(default_factory=list)
    """The longest pause of each piece that went on, or ended."""

    def heard(self, name: str, now: float, *, is_end: bool) -> None:
        """Note an event of a piece."""
        if name not in self.last_event:
            return
        pause_s = max(self.longest_s.get(name, 0.0), now - self.last_event[name])
        self.last_event[name], self.longest_s[name] = now, pause_s
        if is_end or now > self.over:
            self.pauses_s.append(pause_s)
            del self.last_event[name]


class Recoveries:
    """The interruptions of a run."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[int, float, str]] = {}
        """Sequence, time and kind of the newest event of each piece."""
        self.all: list[Interruption] = []
        self.longest = Pause(0.0, "", "", "")

    def begin(self, fault: Fault, running: Iterable[str]) -> Interruption:
        """Note the beginning of a fault. Only pieces that conductors work on count: the others wait anyway."""
        now = time.monotonic()
        self.all.append(Interruption(fault, {name: now for name in running if name in self._newest}))
        return self.all[-1]

    def heard(self, update: Update) -> None:
        """Note an event of a log. After a failover it may have an earlier sequence, which is announced."""
        name, sequence, now = update.event.composition, update.event.sequence, time.monotonic()
        known, last, kind = self._newest.get(name, (0, now, ""))
        if update.kind == "accepted" or (sequence <= known and update.kind != "draft_rewound"):
            return
        self._newest[name] = sequence, now, update.kind
        self.longest = max(self.longest, Pause(now - last, name, kind, update.kind))
        for each in self.all:
            each.heard(name, now, is_end=update.kind == "finished")

    def by_kind(self) -> dict[str, list[Interruption]]:
        """Return the interruptions of each kind of fault."""
        found: dict[str, list[Interruption]] = {}
        for each in self.all:
            found.setdefault(type(each.fault).__name__, []).append(each)
        return dict(sorted(found.items()))
