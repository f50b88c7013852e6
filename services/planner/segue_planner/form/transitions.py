"""Transitions: fills, risers and stops that lead from a section to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue_music.plan import Role, Transition

if TYPE_CHECKING:
    from collections.abc import Container

REVERSED_INTO: Final[Container[Role]] = frozenset({Role.BREAKDOWN, Role.BRIDGE, Role.DEVELOPMENT})


def choose_transition(
    role: Role, following: Role | None, *, drums: bool, next_drums: bool, electronic: bool = False, final: bool = False
) -> Transition:
    """Return the transition from a role to the next. Fills and stops need drums.

    `final` marks the section before the last peak: the band stops for a moment there, once in a piece.
    """
    if following is None:
        return Transition.UNSPECIFIED
    if following == Role.DROP or role == Role.PRE_CHORUS:
        if final and drums:
            return Transition.STOP
        rises = following == Role.DROP or electronic or not drums
        return Transition.RISER if rises else Transition.FILL
    if following in REVERSED_INTO or (drums and not next_drums):
        return Transition.REVERSE_CYMBAL
    if not drums and next_drums and following in {Role.CHORUS, Role.RESOLUTION}:
        return Transition.RISER if electronic else Transition.REVERSE_CYMBAL
    return Transition.FILL if drums and following != Role.PRE_CHORUS else Transition.PICKUP
