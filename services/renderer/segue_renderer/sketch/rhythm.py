"""Drums: the groove's pattern by energy, with ghost notes, small turns at phrase ends, fills and crashes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue_music.plan import Feel, Role, Transition
from segue_renderer.sketch import kits
from segue_renderer.sketch.styles import GROOVES, TIMEKEEPERS, style_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from segue_music.plan import SectionSpec
    from segue_renderer.sketch.grid import Grid

BIG: Final = frozenset({Role.CHORUS, Role.DROP, Role.SOLO})
MACHINES: Final = frozenset({"machine", "deep"})
BACKBEAT: Final = frozenset({kits.SNARE, kits.CLAP})


def write(
    spec: SectionSpec, grid: Grid, instruments: tuple[str, ...], chance: np.random.Generator, *, ends: bool
) -> Iterator[tuple[int, int, int]]:
    """Return tick, drum and level 1 to 9."""  # fmt: skip
    pattern = groove_of(spec, instruments)
    machine = style_for(spec.genre).kit in MACHINES
    for bar in range(grid.bars):
        last = bar == grid.bars - 1
        start = bar * grid.bar
        if last and ends:
            yield start, kits.KICK, 8
            yield start, kits.CRASH, 6
            return
        fill = last and spec.transition in {Transition.FILL, Transition.RISER}
        turn = not fill and bar % 4 == 3 and spec.energy[bar] > 0.5
        until = (bar + 1) * grid.bar
        if fill:
            until -= grid.beat * (2 if grid.bar >= 4 * grid.beat else 1) if grid.bar > grid.beat else 0
        yield from _bar(spec, grid, pattern, bar, until, chance)
        if fill:
            yield from _fill(grid, until, (bar + 1) * grid.bar, spec.energy[bar], chance, machine=machine)
        elif turn and grid.bar > grid.beat:
            drum = kits.SNARE if kits.SNARE in pattern else kits.MID_TOM
            yield until - grid.beat // 2, drum, 4
            yield until - grid.beat // 4, drum, 5
        if bar == 0 and spec.previous and (spec.role in BIG or spec.energy[0] > 0.62):
            yield 0, kits.CRASH, 7 if spec.role in BIG else 5


def groove_of(spec: SectionSpec, instruments: tuple[str, ...]) -> Mapping[int, str]:
    """Return the pattern that the section asks for; an instrument's own where the groove leaves it nothing."""
    name = spec.groove.name if spec.groove and spec.groove.name else "backbeat"
    pattern = GROOVES.get(name, GROOVES["backbeat"])
    words = " ".join(instruments)
    if "brush" in words:
        return GROOVES["swing"]
    if "shaker" in words:
        return GROOVES["shaker"]
    if "tom" in words and name != "toms":
        return GROOVES["toms"]
    return pattern or GROOVES["shaker"]


def _bar(
    spec: SectionSpec, grid: Grid, pattern: Mapping[int, str], bar: int, until: int, chance: np.random.Generator
) -> Iterator[tuple[int, int, int]]:
    energy = spec.energy[bar]
    feel = spec.groove.feel if spec.groove else Feel.UNSPECIFIED
    # Weak marks come in with energy; a soft bar keeps its backbeat on the rim.
    least = 1.0 + 3.5 * (1.0 - energy)
    for drum, marks in pattern.items():
        read = _felt(marks, feel, bar)
        for tick, level in grid.hits(read, bar, keeps_time=drum in TIMEKEEPERS):
            if tick >= until or level + float(chance.random()) < least:
                continue
            soft = drum in BACKBEAT and energy < 0.36 and level > 4
            yield tick, kits.SIDE_STICK if soft else drum, level


def _felt(marks: str, feel: Feel, bar: int) -> str:
    """Stretch or press a pattern: half time spreads it over two bars."""
    if feel == Feel.HALF_TIME:
        half = marks[:8] if bar % 2 == 0 else marks[8:]
        return "".join(mark + "." for mark in half)
    if feel == Feel.DOUBLE_TIME:
        return marks[::2] * 2
    return marks


def _fill(
    grid: Grid, start: int, end: int, energy: float, chance: np.random.Generator, *, machine: bool
) -> Iterator[tuple[int, int, int]]:
    """Roll down the toms into the next section; machines roll on the snare."""
    order = (kits.SNARE,) if machine else (kits.SNARE, kits.HIGH_TOM, kits.MID_TOM, kits.LOW_TOM)
    step = grid.beat // 4 if energy > 0.5 else grid.beat // 2
    count = max(1, (end - start) // step)
    yield start, kits.KICK, 7
    for number in range(count):
        place = number / count
        if number % 2 and float(chance.random()) > 0.35 + 0.6 * place:
            continue
        yield start + number * step, order[int(place * len(order))], 5 + round(3 * place)
