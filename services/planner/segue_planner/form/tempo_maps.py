"""Tempo maps of the sections: steady, faster from section to section, or slower at the very end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue_music import timing
from segue_music.elements import TempoPoint
from segue_planner.limits import FASTEST, SLOWEST

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from segue_music.elements import Metre
    from segue_planner.form.outline import SectionOutline
    from segue_planner.prompt.prompt_facts import TempoChange

SPED_UP: Final = 1.16
"""The tempo at the end of a piece that speeds up, relative to its beginning."""
RITARDANDO: Final = ((0.5, 0.94), (0.75, 0.86))
"""Points in the last bars, and the tempo there relative to before."""
RITARDANDO_BARS: Final = 4
MAX_RAMP_BARS: Final = 32


def tempo_maps(
    tempo: float,
    metre: Metre,
    sections: Sequence[SectionOutline],
    course: Container[str],
    change: TempoChange | None = None,
) -> tuple[tuple[TempoPoint, ...], ...]:
    """Return the tempo points of each section."""
    if change is not None and change.ramp:
        return _ramp(tempo, metre, sections, change.factor)
    jumping = _jumping(sections, change)
    found = []
    for index, section in enumerate(sections):
        own = tempo
        if "speeds_up" in course and len(sections) > 1:
            own = tempo * (1 + (SPED_UP - 1) * index / (len(sections) - 1))
        if index in jumping and change is not None:
            own *= change.factor
        points = [TempoPoint(0, playable(own))]
        if "slows_down" in course and index + 1 == len(sections) and section.bars > 1:
            points += _ritardando(own, section.metre or metre, section.bars)
        found.append(tuple(points))
    return tuple(found)


def _jumping(sections: Sequence[SectionOutline], change: TempoChange | None) -> set[int]:
    """Return the sections in another tempo: those of the role, else the last one."""
    if change is None or len(sections) < 2:
        return set()
    named = {index for index, section in enumerate(sections) if section.role == change.role}
    return named or {len(sections) - 1}


def _ramp(
    tempo: float, metre: Metre, sections: Sequence[SectionOutline], factor: float
) -> tuple[tuple[TempoPoint, ...], ...]:
    """Return tempo points that change steadily to the last bar."""
    total = sum(section.bars for section in sections)
    step = 2 if total > MAX_RAMP_BARS else 1
    found, first = [], 0
    for section in sections:
        bar = timing.ticks_per_bar(section.metre or metre)
        numbers = range(0, section.bars, step if section.bars <= MAX_RAMP_BARS else section.bars // 16)
        found.append(
            tuple(
                TempoPoint(number * bar, playable(tempo * factor ** ((first + number) / max(1, total - 1))))
                for number in numbers
            )
        )
        first += section.bars
    return tuple(found)


def _ritardando(tempo: float, metre: Metre, bars: int) -> list[TempoPoint]:
    bar = timing.ticks_per_bar(metre)
    slow_bars = min(RITARDANDO_BARS, bars)
    return [
        TempoPoint((bars - slow_bars) * bar + int(position * slow_bars * bar), playable(tempo * factor))
        for position, factor in RITARDANDO
    ]


def playable(tempo: float) -> float:
    """Return the nearest tempo that the contract allows."""
    return min(FASTEST, max(SLOWEST, tempo))
