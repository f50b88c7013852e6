"""How many faults a piece must survive, by the service's own rules.

The service gives a piece up that ends its processes: after three losses of a role in the same work, or of conductors
that worked on it alone. Faults wait while a piece is near to that, since its end would prove nothing.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, TypeAlias

import grpc
from tests.fleet.members import role_of

from segue.composer.v1 import composition_pb2
from segue_client import SegueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.chaos.faults.fault import Fault

    from segue.composer.v1.composition_pb2 import Composition
    from segue_client import Client

    Work: TypeAlias = tuple[str, str, object]

MAX_CLAIMS, MAX_ATTEMPTS = 1, 1
MAX_LOSSES = 1
"""Per role and work; a connection that is still to break may add one."""


class Tolerance:
    """Counts the faults that each running piece has met in its present work."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._losses: collections.Counter[Work] = collections.Counter()

    async def allows(self, faults: Sequence[Fault], running: Iterable[str]) -> bool:
        """Return whether every running piece must survive these faults; if so, count them."""
        pieces = await self._pieces(running)
        met: list[Work] = []
        for fault in faults:
            role = role_of(fault.target)
            if fault.costs_claims and any(piece.claims > MAX_CLAIMS for piece in pieces):
                return False
            if role == "renderer" and any(map(_has_lost_a_renderer, pieces)):
                return False
            met += [(piece.name, role, work) for piece in pieces if (work := _work_of(role, piece))]
        if any(self._losses[each] >= MAX_LOSSES for each in met):
            return False
        self._losses.update(met)
        return True

    async def _pieces(self, names: Iterable[str]) -> list[Composition]:
        """Return the pieces that there still are: a failover may have lost some."""
        found: list[Composition] = []
        for name in names:
            try:
                found.append(await self._client.get(name))
            except SegueError as error:
                if error.code != grpc.StatusCode.NOT_FOUND:
                    raise
        return found


def _has_lost_a_renderer(piece: Composition) -> bool:
    rendering = (each for each in piece.sections if each.state == composition_pb2.SECTION_STATE_RENDERING)
    return any(section.attempt > MAX_ATTEMPTS for section in rendering)


def _work_of(role: str, piece: Composition) -> object:
    """Return what changes when a role gets further with a piece; None for roles whose losses the piece itself shows."""
    match role:
        case "planner":
            return ("plan", piece.HasField("plan"))
        case "mixer":
            joined = sum(each.state == composition_pb2.SECTION_STATE_JOINED for each in piece.sections)
            return (joined, piece.state, piece.HasField("master"), piece.HasField("mastered"), len(piece.outputs))
        case "analyzer":
            return ("report", piece.HasField("report"))
        case _:
            return None
