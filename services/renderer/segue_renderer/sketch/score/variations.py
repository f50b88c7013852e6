"""Varies a drum pattern from bar to bar: the second and the fourth of four bars differ from the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue_renderer.sketch.score.grooves import TIMEKEEPERS, marks_of
from segue_renderer.sketch.tables.kits import (
    CLOSED_HAT,
    CONGA,
    GONG,
    KICK,
    LOW_CONGA,
    OPEN_HAT,
    RIDE,
    SHAKER,
    SIDE_STICK,
    SNARE,
    TAMBOURINE,
    TIMPANI,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_renderer.sketch.score.grid import TickGrid
    from segue_renderer.sketch.score.grooves import Pattern

PHRASE_BARS: Final = 4
CHANGES: Final = (0, 1, 0, 2)
"""How many drums change in each of four bars."""
WEAK: Final = (14, 10, 6, 7, 15, 11, 3)
"""Marks between the beats, where a stroke may be added or left out."""
ADDED: Final = {KICK: 5, SNARE: 3, OPEN_HAT: 4, CLOSED_HAT: 4, RIDE: 4, SHAKER: 4, TAMBOURINE: 4, SIDE_STICK: 3,
                CONGA: 4, LOW_CONGA: 4}  # fmt: skip
"""The level of an added stroke; of other drums 4."""
KEPT: Final = frozenset({GONG, TIMPANI})
"""Drums that are not varied: one stroke more of them is an event."""
SOFT: Final = 5
"""Strokes up to this level may be left out."""


def phrase_bars(
    pattern: Pattern, grid: TickGrid, draws: Sequence[float], *, steady: bool
) -> list[dict[int, str]]:  # fmt: skip
    """Return the marks of each drum in four bars; with `steady` the kick stays, as in dance music."""
    read = {step.index for step in grid.steps}
    pulses = {step.pulse for step in grid.steps}
    found = []
    for bar in range(PHRASE_BARS):
        marks = {drum: marks_of(own, bar) for drum, own in pattern.items()}
        able = [drum for drum in sorted(marks) if drum not in KEPT and not (steady and drum == KICK)]
        for change in range(CHANGES[bar] if able else 0):
            drum = able[int(draws[2 * (bar + change)] * len(able))]
            places = [place for place in WEAK if place in (pulses if drum in TIMEKEEPERS else read)]
            if places:
                place = places[int(draws[2 * (bar + change) + 1] * len(places))]
                marks[drum] = _turned(marks[drum], place, ADDED.get(drum, 4))
        found.append(marks)
    return found


def _turned(marks: str, place: int, level: int) -> str:
    """Add a stroke at a place, leave out a soft one, or let a strong one be soft."""
    mark = marks[place]
    new = str(level)
    if mark.isdigit():
        new = "." if int(mark) <= SOFT else str(SOFT)
    return marks[:place] + new + marks[place + 1 :]
