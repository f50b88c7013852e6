"""Writes the bass line: the genre's pattern over the chords, with a step into the next chord."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_music.theory import chord_classes, pitch_class, scale_classes
from segue_renderer.sketch.score.melody.notes import chord_at
from segue_renderer.sketch.score.patterns import BASSES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_music.elements import Chord, Key
    from segue_renderer.sketch.score.grid import TickGrid
    from segue_renderer.sketch.score.melody.notes import MelodyNote

RANGE: Final = (31, 50)
START: Final = 38


@dataclass(frozen=True)
class BassNote:
    """A note of the bass line and its level, 1 to 9."""

    tick: int
    ticks: int
    pitch: int
    level: int


class BassLine:
    """Writes the bass line of a section; it avoids half steps to the melody, even when the lead does not play."""

    def __init__(
        self, grid: TickGrid, key: Key, chords: Sequence[Chord], melody: Sequence[MelodyNote], lowest: int = RANGE[0]
    ) -> None:
        self._grid = grid
        self._scale = frozenset(scale_classes(key))
        tonic = pitch_class(key.tonic)
        self._anchors = frozenset({tonic, (tonic + 7) % 12})
        self._chords = chords
        self._melody_at = {
            beat: tone.pitch
            for tone in melody
            for beat in range(-(-tone.tick // grid.beat) * grid.beat, tone.tick + tone.ticks, grid.beat)
        }
        self._lowest = lowest
        self._last = max(START, lowest)

    def write(self, names: Sequence[str], following: Chord | None) -> Iterator[BassNote]:
        """Write all bars, each with its named pattern; `following` is the chord after the section."""
        for bar, name in enumerate(names):
            # Patterns of several bars take turns.
            patterns = BASSES[name]
            for tick, ticks, mark in self._grid.strokes(patterns[bar % len(patterns)], bar):
                yield from self._tones(tick, ticks, mark, following)

    def _tones(self, tick: int, ticks: int, mark: str, following: Chord | None) -> Iterator[BassNote]:
        end = tick + ticks
        while tick < end:
            chord = chord_at(self._chords, tick)
            until = min(end, max(tick + 1, chord.start_tick + chord.ticks))
            root = self._near(pitch_class(chord.bass or chord.root))
            pitch = self._pitch(mark, root, chord, until, following)
            if self._grates(tick, until, pitch):
                pitch = root
            level = {"r": 3, "a": 6, "b": 6, "c": 7, "8": 7, "R": 8}.get(mark, 6)
            yield BassNote(tick, max(1, (until - tick) * (19 if mark == "R" else 17) // 20), pitch, level)
            if mark == "R":
                self._last = root
            tick = until

    def _grates(self, tick: int, until: int, pitch: int) -> bool:
        """Return whether the melody is a half step above a pitch on a beat."""
        first = -(-tick // self._grid.beat) * self._grid.beat
        beats = range(first, until, self._grid.beat)
        return any((self._melody_at.get(beat, pitch) - pitch) % 12 == 1 for beat in beats)

    def _pitch(self, mark: str, root: int, chord: Chord, end: int, following: Chord | None) -> int:
        classes = chord_classes(chord)
        offsets = {
            "3": (classes[min(1, len(classes) - 2)] - root) % 12,
            "5": (classes[min(2, len(classes) - 1)] - root) % 12,
            "6": 9 if (root + 9) % 12 in self._scale else 8,
        }
        if mark == "5" and (root + offsets["5"]) % 12 not in self._anchors >= {(root + offsets["3"]) % 12}:
            # A fifth outside the tonic's triad suggests the relative key; the third keeps this key.
            mark = "3"
        if mark in offsets:
            return self._into(root + offsets[mark])
        if mark == "8":
            return root + 12
        if mark in "abc":
            if mark == "a":
                return self._leading(root, self._goal(chord, end, following))
            # Both steps of a walk lead to the next bar.
            return self._walking(root, self._goal(chord, -(-end // self._grid.bar) * self._grid.bar, following), mark)
        return root

    def _goal(self, chord: Chord, end: int, following: Chord | None) -> int:
        """Return the root after a note."""
        if end < self._grid.end:
            after = chord_at(self._chords, end)
            return self._near(pitch_class(after.bass or after.root))
        after = following or chord
        # The next section begins in the middle of the range.
        return self._near(pitch_class(after.bass or after.root), START)

    def _walking(self, root: int, goal: int, mark: str) -> int:
        """Return the last note of the scale before a root ("c") or the one before it, from the side of this root."""
        way = -1 if root < goal and goal > self._lowest + 2 else 1
        ladder = [goal + way * step for step in range(1, 6) if (goal + way * step) % 12 in self._scale]
        return ladder[0 if mark == "c" else 1]

    def _leading(self, root: int, goal: int) -> int:
        """Return a pitch one step from the next root, on the side from which the line comes."""
        if goal == root:
            return self._into(root + 7)
        below, above = goal - 1, goal + (1 if (goal + 1) % 12 in self._scale else 2)
        if below % 12 not in self._scale and (goal - 2) % 12 in self._scale and abs(root - goal) > 4:
            below = goal - 2
        return below if root < goal and below >= self._lowest - 3 else above

    def _near(self, wanted: int, last: int | None = None) -> int:
        before = self._last if last is None else max(last, self._lowest)
        candidates = [pitch for pitch in range(self._lowest, RANGE[1] + 1) if pitch % 12 == wanted]
        return min(candidates, key=lambda pitch: (abs(pitch - before) + 0.4 * abs(pitch - START), pitch))

    def _into(self, pitch: int) -> int:
        while pitch > RANGE[1] + 2:
            pitch -= 12
        while pitch < self._lowest - (3 if self._lowest == RANGE[0] else 0):
            pitch += 12
        return pitch
