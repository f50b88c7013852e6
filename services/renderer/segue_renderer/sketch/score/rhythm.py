"""Writes the drums: the groove by energy, with ghost notes, fills, builds and crashes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue_music.elements import Feel
from segue_music.plan import Role, Transition
from segue_renderer.sketch.score.grooves import TIMEKEEPERS, WHOLE_KITS, pattern_of
from segue_renderer.sketch.score.variations import PHRASE_BARS, phrase_bars
from segue_renderer.sketch.tables import kits
from segue_renderer.sketch.tables.styles import style_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from segue_music.plan import SectionSpec
    from segue_renderer.sketch.score.grid import TickGrid
    from segue_renderer.sketch.score.grooves import Pattern

BIG: Final = frozenset({Role.CHORUS, Role.DROP, Role.SOLO})
MACHINES: Final = frozenset({"machine", "deep", "gated", "chip"})
CALM: Final = 0.42
BACKBEAT: Final = frozenset({kits.SNARE, kits.CLAP})
BUILD_BARS: Final = 2
SLOWER: Final = 0.97
"""A tempo below this share of the first one is a ritardando, in which the drums play beats only."""
SINGLE_STROKES: Final = frozenset({kits.GONG, kits.CLAP, kits.SNAP, kits.TRIANGLE, kits.CRASH})
"""Drums that play no fills."""


def write(
    spec: SectionSpec, grid: TickGrid, instruments: tuple[str, ...], rng: np.random.Generator, *, ends: bool
) -> Iterator[tuple[int, int, int]]:
    """Return tick, drum and level 1 to 9 of each hit."""  # fmt: skip
    drums = _Drums(spec, grid, instruments, rng, ends=ends)
    for bar in range(grid.bars):
        if ends and bar == grid.bars - 1:
            yield from drums.last()
        else:
            yield from drums.bar(bar)


class _Drums:
    """The drum part of a section."""

    def __init__(
        self, spec: SectionSpec, grid: TickGrid, instruments: tuple[str, ...], rng: np.random.Generator, *, ends: bool
    ) -> None:  # fmt: skip
        self._spec = spec
        self._ends = ends
        self._grid = grid
        self._rng = rng
        self._style = style_for(spec.genre)
        groove = spec.groove.name if spec.groove and spec.groove.name else "backbeat"
        self._pattern = self._with_ride(pattern_of(groove, instruments, self._style.grooves))
        # Fills and crashes need a whole kit: a shaker alone has neither.
        self._whole_kit = any(word in name for name in instruments for word in WHOLE_KITS)
        # Omissions are chosen once for four bars and repeat in the section, so that they form a groove.
        self._phrase_draws = rng.random(64)
        # Likewise the variations of the pattern.
        steady = self._style.kit in MACHINES
        self._bars = phrase_bars(self._pattern, grid, self._phrase_draws[-16:].tolist(), steady=steady)
        first = spec.tempo_points[0].quarters_per_minute
        self._slows_at = next(
            (p.start_tick for p in spec.tempo_points if p.quarters_per_minute < first * SLOWER), grid.end
        )  # fmt: skip
        self._builds = self._style.builds and spec.next is not None and spec.next.role in BIG

    def last(self) -> Iterator[tuple[int, int, int]]:
        """Return the last bar: one hit on the first beat."""
        start = (self._grid.bars - 1) * self._grid.bar
        if self._whole_kit:
            yield start, kits.KICK, 8
            yield start, kits.CRASH, 6
            return
        for drum, marks in self._pattern.items():
            if marks[0].isdigit():
                yield start, drum, int(marks[0])

    def bar(self, bar: int) -> Iterator[tuple[int, int, int]]:
        """Return the hits of a bar."""
        spec, grid = self._spec, self._grid
        last = bar == grid.bars - 1
        end = (bar + 1) * grid.bar
        is_machine = self._style.kit in MACHINES
        closes = self._ends and bar == grid.bars - 2 and spec.energy[bar] >= CALM and end <= self._slows_at
        closes = closes and not is_machine
        fill = (closes or (last and spec.transition in {Transition.FILL, Transition.RISER})) and grid.bar > grid.beat
        turn = not fill and bar % 4 == 3 and spec.energy[bar] > 0.5 and self._whole_kit and grid.bar > grid.beat
        long_turn = turn and bar % 8 == 7 and not is_machine
        if self._builds and bar >= grid.bars - BUILD_BARS and grid.bars > BUILD_BARS:
            yield from self._build(bar)
            return
        until = end
        if fill and self._whole_kit:
            until -= grid.beat * (2 if grid.bar >= 4 * grid.beat else 1)
        elif fill or long_turn:
            until -= grid.beat
        yield from self._grooved(bar, until)
        if (fill and self._whole_kit) or long_turn:
            yield from self._fill(until, end, spec.energy[bar])
        elif fill:
            yield from self._roll(until, end)
        elif turn:
            drum = kits.SNARE if kits.SNARE in self._pattern else kits.MID_TOM
            yield end - grid.beat // 2, drum, 4
            yield end - grid.beat // 4, drum, 5
        if bar == 0 and spec.previous and self._whole_kit and (spec.role in BIG or spec.energy[0] > 0.62):
            yield 0, kits.CRASH, 7 if spec.role in BIG else 5

    def _with_ride(self, pattern: Pattern) -> Pattern:
        """Move the hi-hat to the ride in choruses and solos of acoustic kits."""
        takes_ride = self._spec.role in {Role.CHORUS, Role.SOLO} and self._style.kit in {"acoustic", "heavy"}
        if not takes_ride or kits.CLOSED_HAT not in pattern or kits.RIDE in pattern:
            return pattern
        return {kits.RIDE if drum == kits.CLOSED_HAT else drum: marks for drum, marks in pattern.items()}

    def _grooved(self, bar: int, until: int) -> Iterator[tuple[int, int, int]]:
        energy = self._spec.energy[bar]
        feel = self._spec.groove.feel if self._spec.groove else Feel.UNSPECIFIED
        # Weak marks need energy; a quiet bar plays its backbeat on the rim.
        least = 1.0 + 3.5 * (1.0 - energy)
        for drum, marks in self._bars[bar % PHRASE_BARS].items():
            read = _with_feel(marks, feel, bar)
            for number, (tick, level) in enumerate(self._grid.hits(read, bar, keeps_time=drum in TIMEKEEPERS)):
                draw = self._phrase_draws[(bar % 4 * 16 + number + drum) % 64]
                if tick >= until or level + float(draw) < least:
                    continue
                if tick >= self._slows_at and not self._grid.is_beat(tick):
                    continue
                soft = drum in BACKBEAT and energy < 0.36 and level > 4
                yield tick, kits.SIDE_STICK if soft else drum, level

    def _fill(self, start: int, end: int, energy: float) -> Iterator[tuple[int, int, int]]:
        """Return a fill down the toms into the next section; drum machines fill on the snare."""
        machine = self._style.kit in MACHINES
        order = (kits.SNARE,) if machine else (kits.SNARE, kits.HIGH_TOM, kits.MID_TOM, kits.LOW_TOM)
        step = self._grid.beat // 4 if energy > 0.5 else self._grid.beat // 2
        count = max(1, (end - start) // step)
        yield start, kits.KICK, 7
        for number in range(count):
            place = number / count
            if number % 2 and float(self._rng.random()) > 0.35 + 0.6 * place:
                continue
            yield start + number * step, order[int(place * len(order))], 5 + round(3 * place)

    def _roll(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Return a fill of hand drums: all of them in turn, getting louder."""
        drums = [drum for drum in self._pattern if drum not in SINGLE_STROKES]
        step = self._grid.beat // 4
        for number, tick in enumerate(range(start, end, step) if drums else ()):
            yield tick, drums[number % len(drums)], 4 + 4 * number // max(1, (end - start) // step)

    def _build(self, bar: int) -> Iterator[tuple[int, int, int]]:
        """Return a roll that gets faster and louder into the next section; its last bar has no kick."""
        grid, start = self._grid, bar * self._grid.bar
        last = bar == grid.bars - 1
        step = grid.beat // 4 if last else grid.beat // 2
        count = max(1, grid.bar // step)
        for number in range(count):
            place = (number / count + (1 if last else 0)) / 2
            yield start + number * step, kits.SNARE, 2 + round(6 * place)
        if not last:
            for tick in range(start, start + grid.bar, grid.beat):
                yield tick, kits.KICK, 8


def _with_feel(marks: str, feel: Feel, bar: int) -> str:
    """Return the marks of a bar in a feel: half time spreads a bar over two."""
    if feel == Feel.HALF_TIME:
        half = marks[:8] if bar % 2 == 0 else marks[8:]
        return "".join(mark + "." for mark in half)
    if feel == Feel.DOUBLE_TIME:
        return marks[::2] * 2
    return marks
