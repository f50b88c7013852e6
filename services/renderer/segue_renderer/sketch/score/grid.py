"""Bars, beats and the sixteen steps of a pattern in any metre, and swing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from segue_music.timing import TICKS_PER_QUARTER, is_compound, ticks_per_bar, ticks_per_beat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_music.elements import Metre

SIXTEENTH: Final = TICKS_PER_QUARTER // 4


@dataclass(frozen=True)
class PatternStep:
    """A position in the bar at which a pattern has a mark."""

    tick: int
    ticks: int
    index: int
    """Index of the mark that melodic patterns read here; 0 to 15."""
    pulse: int
    """Index of the mark that timekeeping drums read here: in a group of three they keep playing eighths."""


@dataclass(frozen=True)
class TickGrid:
    """Bars and beats of a section in ticks."""

    metre: Metre
    bars: int

    @cached_property
    def bar(self) -> int:
        """Ticks in a bar."""
        return ticks_per_bar(self.metre)

    @cached_property
    def beat(self) -> int:
        """Ticks in a felt beat."""
        return ticks_per_beat(self.metre)

    @property
    def end(self) -> int:
        """The section's length in ticks."""
        return self.bar * self.bars

    @cached_property
    def steps(self) -> tuple[PatternStep, ...]:
        """The pattern steps of one bar."""
        groups = _groups(self.metre)
        found = []
        tick = 0
        for ticks, quarter in zip(groups, _quarters(len(groups)), strict=True):
            if ticks == 3 * TICKS_PER_QUARTER // 2:
                places: tuple[tuple[int, int], ...] = ((0, 0), (2, 2), (3, 2))
            elif ticks == TICKS_PER_QUARTER:
                places = ((0, 0), (1, 1), (2, 2), (3, 3))
            else:
                places = ((0, 0), (2, 2))
            step = ticks // len(places)
            for number, (index, pulse) in enumerate(places):
                found.append(PatternStep(tick + number * step, step, quarter * 4 + index, quarter * 4 + pulse))
            tick += ticks
        return tuple(found)

    def strokes(self, pattern: str, bar: int) -> Iterator[tuple[int, int, str]]:
        """Return tick, ticks and mark for each stroke of a pattern in a bar; "." rests and "-" holds."""
        begun: tuple[int, str] | None = None
        start = bar * self.bar
        for step in self.steps:
            mark = pattern[step.index]
            if mark == "-":
                continue
            if begun:
                yield begun[0], start + step.tick - begun[0], begun[1]
            begun = None if mark == "." else (start + step.tick, mark)
        if begun:
            yield begun[0], start + self.bar - begun[0], begun[1]

    def hits(self, pattern: str, bar: int, *, keeps_time: bool) -> Iterator[tuple[int, int]]:
        """Return tick and level 1 to 9 for each hit of a drum pattern in a bar."""
        for step in self.steps:
            mark = pattern[step.pulse if keeps_time else step.index]
            if mark.isdigit():
                yield bar * self.bar + step.tick, int(mark)

    def is_beat(self, tick: int) -> bool:
        """Return whether a tick is on a felt beat."""
        return tick % self.bar % self.beat == 0


def _groups(metre: Metre) -> list[int]:
    """Split a bar into groups of a quarter or a dotted quarter."""
    eighth = TICKS_PER_QUARTER // 2
    if is_compound(metre):
        return [3 * eighth] * (metre.beats // 3)
    if metre.unit == 8:
        if metre.beats == 1:
            return [eighth]
        pairs, rest = divmod(metre.beats, 2)
        return [2 * eighth] * (pairs - rest) + [3 * eighth] * rest
    return [TICKS_PER_QUARTER] * (metre.beats * 4 // metre.unit)


def _quarters(count: int) -> list[int]:
    """Return the quarter of a pattern that each group of a bar reads."""
    few: Final = {0: [], 1: [0], 2: [0, 1], 3: [0, 1, 3]}
    if count in few:
        return few[count]
    whole = count - count % 4
    return [index % 4 for index in range(whole)] + {0: [], 1: [3], 2: [2, 3], 3: [2, 1, 3]}[count % 4]


def swung(tick: int, metre: Metre, swing: float, *, eighths: bool) -> int:
    """Move a tick by the swing: the first of each pair of notes is longer."""
    if swing == 0.5:
        return tick
    beat = TICKS_PER_QUARTER if not is_compound(metre) else ticks_per_beat(metre)
    pair = beat if eighths else beat // 2
    base, within = tick - tick % pair, tick % pair
    half = pair / 2
    if within < half:
        return base + round(within * swing * 2)
    return base + round(pair * swing + (within - half) * (1 - swing) * 2)
