"""Assigns slots to requests: fair between owners, with a bounded wait, and without gaps in the batch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(eq=False)
class Ticket:
    """One request, waiting or running."""

    owner: str
    arrival: int = 0
    overtaken: int = 0
    """How many later requests were admitted before it."""
    slot: int | None = None


@dataclass(frozen=True)
class SlotMove:
    """A running request that must change its slot, so that the batch stays dense."""

    ticket: Ticket
    source: int
    target: int


@dataclass
class Scheduler:
    """A queue of waiting tickets and a row of slots.

    A free slot goes to the owner with the fewest running requests. Ties go to the owner that was served longest ago,
    then to the oldest ticket. A ticket that was overtaken `max_overtaken` times goes before all others.
    """

    num_slots: int
    max_overtaken: int = 16
    waiting: list[Ticket] = field(default_factory=list)
    running: dict[int, Ticket] = field(default_factory=dict)
    _arrivals: int = 0
    _served: dict[str, int] = field(default_factory=dict)
    _admissions: int = 0

    def submit(self, ticket: Ticket) -> None:
        """Add a ticket to the queue."""
        self._arrivals += 1
        ticket.arrival = self._arrivals
        self.waiting.append(ticket)

    def position(self, ticket: Ticket) -> int:
        """Return a ticket's position from 1; 0 when it runs or will run at once. Any thread may call this."""
        if ticket.slot is not None:
            return 0
        # A ticket that was not submitted yet comes after all others.
        earlier = sum(other.arrival < ticket.arrival or not ticket.arrival for other in tuple(self.waiting))
        return max(0, earlier + 1 - (self.num_slots - len(self.running)))

    def admit(self) -> Ticket | None:
        """Give one free slot to the next ticket; return None without a free slot or a ticket."""
        free = next((slot for slot in range(self.num_slots) if slot not in self.running), None)
        if free is None or not self.waiting:
            return None
        ticket = self._next()
        self.waiting.remove(ticket)
        for other in self.waiting:
            other.overtaken += other.arrival < ticket.arrival
        self._admissions += 1
        self._served[ticket.owner] = self._admissions
        ticket.slot = free
        self.running[free] = ticket
        return ticket

    def leave(self, ticket: Ticket) -> SlotMove | None:
        """Remove a ticket, waiting or running. Return the move that closes its gap, so that slots stay dense."""
        if ticket.slot is None:
            if ticket in self.waiting:
                self.waiting.remove(ticket)
            self._forget(ticket.owner)
            return None
        gap, ticket.slot = ticket.slot, None
        del self.running[gap]
        self._forget(ticket.owner)
        highest = max(self.running, default=-1)
        if highest < gap:
            return None
        moved = self.running.pop(highest)
        moved.slot = gap
        self.running[gap] = moved
        return SlotMove(moved, highest, gap)

    @property
    def bucket(self) -> int:
        """The number of slots that the next step computes."""
        return bucket_of(max(self.running, default=-1) + 1, self.num_slots)

    def _next(self) -> Ticket:
        overdue = [ticket for ticket in self.waiting if ticket.overtaken >= self.max_overtaken]
        if overdue:
            return min(overdue, key=lambda ticket: ticket.arrival)
        busy: dict[str, int] = {}
        for ticket in self.running.values():
            busy[ticket.owner] = busy.get(ticket.owner, 0) + 1
        return min(
            self.waiting,
            key=lambda ticket: (busy.get(ticket.owner, 0), self._served.get(ticket.owner, 0), ticket.arrival),
        )

    def _forget(self, owner: str) -> None:
        """Delete the record of an owner that has no tickets left."""
        if all(ticket.owner != owner for ticket in (*self.waiting, *self.running.values())):
            self._served.pop(owner, None)


def bucket_of(count: int, limit: int) -> int:
    """Round a number of slots up to a batch size: 1, 2, 4, 8 …, at most `limit`."""
    return min(limit, 1 << (count - 1).bit_length()) if count > 0 else 0


def buckets_of(limit: int) -> list[int]:
    """Return all batch sizes for `limit` slots, in order."""
    return sorted({bucket_of(count, limit) for count in range(1, limit + 1)})
