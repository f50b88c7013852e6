"""Who gets a slot, and where: fair between owners, bounded in waiting, dense in the batch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(eq=False)
class Ticket:
    """A request's place in the line."""

    owner: str
    arrival: int = 0
    overtaken: int = 0
    """How many that came later went before it."""
    slot: int | None = None


@dataclass(frozen=True)
class Move:
    """A running request that must change its slot, so that the batch stays dense."""

    ticket: Ticket
    source: int
    target: int


@dataclass
class Scheduler:
    """A line of waiting tickets and a row of slots.

    A free slot goes to the owner with the fewest running requests; among equals to the one served longest ago, then
    to the oldest. A ticket that was overtaken `max_overtaken` times goes before all others.
    """

    num_slots: int
    max_overtaken: int = 16
    waiting: list[Ticket] = field(default_factory=list)
    running: dict[int, Ticket] = field(default_factory=dict)
    _arrivals: int = 0
    _served: dict[str, int] = field(default_factory=dict)
    _admissions: int = 0

    def submit(self, ticket: Ticket) -> None:
        """Put a ticket into the line."""
        self._arrivals += 1
        ticket.arrival = self._arrivals
        self.waiting.append(ticket)

    def position(self, ticket: Ticket) -> int:
        """Count the places in the line up to a ticket; 0 when it runs, or will at once. Any thread may ask."""
        if ticket.slot is not None:
            return 0
        # One that is still on its way here comes after all others.
        earlier = sum(other.arrival < ticket.arrival or not ticket.arrival for other in tuple(self.waiting))
        return max(0, earlier + 1 - (self.num_slots - len(self.running)))

    def admit(self) -> Ticket | None:
        """Give one free slot to whoever is next, or return None."""
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

    def leave(self, ticket: Ticket) -> Move | None:
        """Take a ticket out, waiting or running; return the move that makes the batch smaller, if one does."""
        if ticket.slot is None:
            if ticket in self.waiting:
                self.waiting.remove(ticket)
            self._forget(ticket.owner)
            return None
        gap, ticket.slot = ticket.slot, None
        del self.running[gap]
        self._forget(ticket.owner)
        if not self.running:
            return None
        highest = max(self.running)
        if highest < gap or bucket_of(len(self.running), self.num_slots) > highest:
            return None
        moved = self.running.pop(highest)
        moved.slot = gap
        self.running[gap] = moved
        return Move(moved, highest, gap)

    @property
    def bucket(self) -> int:
        """How many slots the next step computes."""
        return bucket_of(max(self.running, default=-1) + 1, self.num_slots)

    def _next(self) -> Ticket:
        patient = [ticket for ticket in self.waiting if ticket.overtaken >= self.max_overtaken]
        if patient:
            return min(patient, key=lambda ticket: ticket.arrival)
        busy: dict[str, int] = {}
        for ticket in self.running.values():
            busy[ticket.owner] = busy.get(ticket.owner, 0) + 1
        return min(
            self.waiting,
            key=lambda ticket: (busy.get(ticket.owner, 0), self._served.get(ticket.owner, 0), ticket.arrival),
        )

    def _forget(self, owner: str) -> None:
        """Keep no memory of owners who have nothing here any more."""
        if all(ticket.owner != owner for ticket in (*self.waiting, *self.running.values())):
            self._served.pop(owner, None)


def bucket_of(count: int, limit: int) -> int:
    """Round a number of slots up to a batch size that is used: 1, 2, 4, 8 …, at most `limit`."""
    return min(limit, 1 << (count - 1).bit_length()) if count > 0 else 0


def buckets_of(limit: int) -> list[int]:
    """Return all batch sizes that are used with so many slots, in order."""
    return sorted({bucket_of(count, limit) for count in range(1, limit + 1)})
