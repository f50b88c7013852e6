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

SPED_UP: Final = 1.16
"""The tempo at the end of a piece that speeds up, relative to its beginning."""
RITARDANDO: Final = ((0.5, 0.94), (0.75, 0.86))
"""Points in the last bars, and the tempo there relative to before."""
RITARDANDO_BARS: Final = 4


def tempo_maps(
    tempo: float, metre: Metre, sections: Sequence[SectionOutline], course: Container[str]
) -> tuple[tuple[TempoPoint, ...], ...]:
    """Return the tempo points of each section."""
    found = []
    for index, section in enumerate(sections):
        own = tempo
        if "speeds_up" in course and len(sections) > 1:
            own = tempo * (1 + (SPED_UP - 1) * index / (len(sections) - 1))
        points = [TempoPoint(0, playable(own))]
        if "slows_down" in course and index + 1 == len(sections) and section.bars > 1:
            points += _ritardando(own, metre, section.bars)
        found.append(tuple(points))
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
