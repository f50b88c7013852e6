"""The energy of every bar: what the role is for, its place in the piece, and what the prompt says of the course."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from segue_music.plan import Role

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from segue_planner.form.outline import Shape

R = Role
ENERGY: Final = {
    R.INTRO: (0.25, 0.4), R.VERSE: (0.45, 0.55), R.PRE_CHORUS: (0.55, 0.75), R.CHORUS: (0.8, 0.9),
    R.MOTIF: (0.5, 0.65), R.BRIDGE: (0.5, 0.65), R.DEVELOPMENT: (0.6, 0.75), R.BREAKDOWN: (0.3, 0.4),
    R.DROP: (0.95, 1.0), R.SOLO: (0.7, 0.8), R.RESOLUTION: (0.6, 0.35), R.OUTRO: (0.45, 0.2),
}  # fmt: skip
LIFT: Final = 0.04
"""How much more each return of a role has, so that the last chorus is the fullest."""
HELD_BACK: Final = 0.94
"""Of two of a role in a row one breathes, where the lift has come to its end: nobody wants the same thing twice."""
MOOD_SPAN: Final = 0.15
QUIETEST: Final = 0.05


def mean(values: Sequence[float]) -> float:
    """Return the mean of some values. Python's own sum of floats is another one from 3.12 on; this is exact in all."""
    return math.fsum(values) / len(values)


def curve(shapes: Sequence[Shape], arousal: float, course: Container[str]) -> list[tuple[float, ...]]:
    """Return one value a bar for each section."""
    counts: dict[Role, int] = {}
    total = sum(shape.bars for shape in shapes)
    found: list[tuple[float, ...]] = []
    bar = 0
    for index, shape in enumerate(shapes):
        counts[shape.role] = counts.get(shape.role, 0) + 1
        last = index + 1 == len(shapes)
        start, end = _borders(shape.role, last=last, only=len(shapes) == 1, course=course)
        lift = min(0.12, LIFT * (counts[shape.role] - 1)) + MOOD_SPAN * arousal
        step = (end - start) / max(1, shape.bars - 1)
        values = []
        for number in range(shape.bars):
            place = (bar + number) / max(1, total - 1)
            value = (start + lift + step * number) * _course_factor(place, course)
            values.append(round(min(1.0, max(QUIETEST, value)), 4))
        if index and shapes[index - 1].role == shape.role and found[-1][0] == values[0]:
            values = [round(value * HELD_BACK, 4) for value in values]
        found.append(tuple(values))
        bar += shape.bars
    return found


def _borders(role: Role, *, last: bool, only: bool, course: Container[str]) -> tuple[float, float]:
    start, end = ENERGY[role]
    grows = "builds" in course or "big_end" in course
    if not last:
        return (0.75, 0.9) if role == R.RESOLUTION and grows else (start, end)
    if "soft_end" in course:
        return (start if only else 0.4), 0.12
    if "fade_end" in course:
        return start, 0.0
    # What grows does not sink at its end.
    if grows:
        return (start if only else 0.85), 1.0
    return (max(start, 0.7), max(end, 0.8)) if "abrupt_end" in course else (start, end)


def _course_factor(place: float, course: Container[str]) -> float:
    """Return what the piece's course makes of the energy at a place from 0 to 1."""
    factor = 1.0
    if "builds" in course:
        factor *= 0.55 + 0.5 * place
    if "calms" in course:
        factor *= 1.05 - 0.5 * place
    if "quiet_start" in course and place < 0.25:
        factor *= 0.5 + 2.0 * place
    return factor
