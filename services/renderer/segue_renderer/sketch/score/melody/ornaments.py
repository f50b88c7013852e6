"""Passing and neighbour notes between the notes of a line, and the runs of solos."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from segue_music.theory import chord_classes, scale_classes
from segue_renderer.sketch.score.melody.fitting import MAX_FOREIGN_SHARE, STEP, foreign_classes, foreign_ticks
from segue_renderer.sketch.score.melody.notes import chord_at, is_strong

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from segue_music.elements import Chord, Key
    from segue_renderer.sketch.score.grid import TickGrid
    from segue_renderer.sketch.score.melody.notes import MelodyNote

MOST_BETWEEN: Final = 4
SHORTEST: Final = 240


class Ornaments:
    """Adds notes to a line that is fitted to its chords; strong beats and the notes of the line stay."""

    def __init__(
        self, grid: TickGrid, key: Key, chords: Sequence[Chord], phrase_ticks: int, rng: np.random.Generator
    ) -> None:
        self._grid, self._key, self._chords, self._phrase_ticks = grid, key, chords, phrase_ticks
        self._scale = frozenset(scale_classes(key))
        # Drawn by the place in a phrase: what returns is played as before.
        self._draws = rng.random(64)

    def add(self, line: Sequence[MelodyNote], share: float, densities: Sequence[float]) -> list[MelodyNote]:
        """Add notes until this share of the moves are steps; `densities` says for each bar how many notes may come.

        Bars of density 1 are filled with runs even when there are steps enough; bars of density 0 stay as they are.
        """
        if len(line) < 2:
            return list(line)
        draws = [self._draws[tone.tick % self._phrase_ticks // SHORTEST % 64] for tone in line]
        bars = [min(len(densities) - 1, tone.tick // self._grid.bar) for tone in line]
        moves = [after.pitch - before.pitch for before, after in pairwise(line)]
        # Passing notes first: neighbour notes turn the line around.
        order = sorted(
            range(len(moves)), key=lambda index: (not moves[index]) + float(draws[index]) - densities[bars[index]]
        )
        added: dict[int, list[MelodyNote]] = {}
        budget = MAX_FOREIGN_SHARE * sum(tone.ticks for tone in line) - foreign_ticks(line, self._chords)
        steps, count = sum(0 < abs(move) <= STEP for move in moves), len(moves)
        for index in order:
            density = densities[bars[index]]
            if density <= 0.0 or (steps >= share * count and density < 1.0):
                continue
            found = self._between(line[index], line[index + 1], density)
            spent = foreign_ticks(found, self._chords)
            if not found or spent > budget:
                continue
            budget -= spent
            added[index] = found
            steps += len(found) + 1 - (0 < abs(moves[index]) <= STEP)
            count += len(found)
        return self._joined(line, added)

    def _joined(self, line: Sequence[MelodyNote], added: dict[int, list[MelodyNote]]) -> list[MelodyNote]:
        joined: list[MelodyNote] = []
        for index, tone in enumerate(line):
            new = added.get(index, [])
            joined.append(replace(tone, ticks=min(tone.ticks, new[0].tick - tone.tick)) if new else tone)
            joined += new
        return joined

    def _between(self, tone: MelodyNote, following: MelodyNote, density: float) -> list[MelodyNote]:
        """Return notes that lead from a note to the next one by steps, or nothing."""
        gap = following.tick - tone.tick
        unit = self._grid.beat // 2
        if gap < 2 * unit or (density >= 1.0 and gap <= 2 * unit):
            unit //= 2
        # After a rest a phrase begins anew.
        if unit < SHORTEST or gap < 2 * unit or gap > tone.ticks + 2 * self._grid.beat:
            return []
        room = min(MOST_BETWEEN, gap // unit - 1)
        for pitches in self._ways(tone, following, room):
            first = following.tick - len(pitches) * unit
            found = [
                replace(tone, tick=first + number * unit, ticks=unit, pitch=pitch)
                for number, pitch in enumerate(pitches)
            ]
            if all(self._fits(each) for each in found):
                return found
        return []

    def _ways(self, tone: MelodyNote, following: MelodyNote, room: int) -> list[list[int]]:
        """Return runs of steps from one pitch to another, the shortest first."""
        start, goal = tone.pitch, following.pitch
        if start == goal:
            near = [p for p in (goal + 1, goal + 2, goal - 1, goal - 2) if self._may(p, tone, following)]
            return [[pitch] for pitch in near]
        way = 1 if goal > start else -1
        ladder = [p for p in range(start + way, goal, way) if p % 12 in self._scale]
        if not ladder:
            # A step already: the neighbour on the far side, then back.
            turns = [p for p in (goal + way, goal + 2 * way) if self._may(p, tone, following)]
            return [[goal, p] for p in turns] if room >= 2 else []
        whole = [start, *ladder, goal]
        smooth = all(abs(after - before) <= STEP for before, after in pairwise(whole))
        if smooth and len(ladder) <= room:
            return [ladder]
        # Too far: the run covers the end of the way.
        return [ladder[-room:]] if room >= 2 and smooth else []

    def _may(self, pitch: int, tone: MelodyNote, following: MelodyNote) -> bool:
        top = min(tone.highest, following.highest)
        return pitch % 12 in self._scale and tone.lowest <= pitch <= top

    def _fits(self, tone: MelodyNote) -> bool:
        chord = chord_at(self._chords, tone.tick)
        if tone.pitch % 12 in chord_classes(chord):
            return True
        return not is_strong(self._grid, tone.tick) and tone.pitch % 12 in foreign_classes(self._key, chord)
