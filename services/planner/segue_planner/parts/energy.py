"""The energy of every bar, from its role and position, the mood, and the course that the prompt describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue_music.plan import Role

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from segue_planner.form.outline import SectionOutline

R = Role
ENERGY: Final = {
    R.INTRO: (0.25, 0.4), R.VERSE: (0.45, 0.55), R.PRE_CHORUS: (0.55, 0.75), R.CHORUS: (0.8, 0.9),
    R.MOTIF: (0.5, 0.65), R.BRIDGE: (0.5, 0.65), R.DEVELOPMENT: (0.6, 0.75), R.BREAKDOWN: (0.3, 0.4),
    R.DROP: (0.95, 1.0), R.SOLO: (0.7, 0.8), R.RESOLUTION: (0.6, 0.35), R.OUTRO: (0.45, 0.2),
}  # fmt: skip
"""The energy at the start and at the end of each role."""
LIFT: Final = 0.04
"""How much the energy rises with each return of a role, so that the last chorus is the fullest."""
MAX_LIFT: Final = 0.12
HELD_BACK: Final = 0.94
"""The factor for the second of two equal sections in a row where the lift has reached its maximum."""
MOOD_SPAN: Final = 0.15
QUIETEST: Final = 0.05


def energy_curves(
    sections: Sequence[SectionOutline], arousal: float, course: Container[str]
) -> list[tuple[float, ...]]:
    """Return the energy of each section, one value a bar."""
    counts: dict[Role, int] = {}
    total = sum(section.bars for section in sections)
    found: list[tuple[float, ...]] = []
    bar = 0
    for index, section in enumerate(sections):
        counts[section.role] = counts.get(section.role, 0) + 1
        last = index + 1 == len(sections)
        start, end = _borders(section.role, last=last, only=len(sections) == 1, course=course)
        lift = min(MAX_LIFT, LIFT * (counts[section.role] - 1)) + MOOD_SPAN * arousal
        step = (end - start) / max(1, section.bars - 1)
        values = []
        for number in range(section.bars):
            position = (bar + number) / max(1, total - 1)
            value = (start + lift + step * number) * _course_factor(position, course)
            values.append(round(min(1.0, max(QUIETEST, value)), 4))
        if index and sections[index - 1].role == section.role and found[-1][0] == values[0]:
            values = [round(value * HELD_BACK, 4) for value in values]
        found.append(tuple(values))
        bar += section.bars
    return found


def _borders(role: Role, *, last: bool, only: bool, course: Container[str]) -> tuple[float, float]:
    """Return the energy at the start and at the end of a section."""
    start, end = ENERGY[role]
    grows = "builds" in course or "big_end" in course
    if not last:
        return (0.75, 0.9) if role == R.RESOLUTION and grows else (start, end)
    if "soft_end" in course:
        return (start if only else 0.4), 0.12
    if "fade_end" in course:
        return start, 0.0
    # A piece that grows does not become quieter at its end.
    if grows:
        return (start if only else 0.85), 1.0
    return (max(start, 0.7), max(end, 0.8)) if "abrupt_end" in course else (start, end)


def _course_factor(position: float, course: Container[str]) -> float:
    """Return the factor for the energy at a position from 0 to 1 in the piece."""
    factor = 1.0
    if "builds" in course:
        factor *= 0.55 + 0.5 * position
    if "calms" in course:
        factor *= 1.05 - 0.5 * position
    if "quiet_start" in course and position < 0.25:
        factor *= 0.5 + 2.0 * position
    return factor
