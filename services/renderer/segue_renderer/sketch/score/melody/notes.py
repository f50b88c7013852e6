"""The notes of a melody, and the chord below them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.elements import Chord
    from segue_renderer.sketch.score.grid import TickGrid

RANGE: Final = (60, 86)
CENTRE: Final = 67


@dataclass(frozen=True)
class MelodyNote:
    """A note of the melody; `pitch` is 0 until it is placed."""

    tick: int
    ticks: int
    degree: int
    alteration: int = 0
    pitch: int = 0
    lowest: int = RANGE[0]
    highest: int = RANGE[1]
    """The pitches that the note may have: the climax has one only, and the notes around it are below it."""


def chord_at(chords: Sequence[Chord], tick: int) -> Chord:
    """Return the chord at a tick; after the end of the section, the last chord."""
    low, high = 0, len(chords) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if chords[middle].start_tick <= tick:
            low = middle
        else:
            high = middle - 1
    return chords[low]


def is_strong(grid: TickGrid, tick: int) -> bool:
    """Return whether a tick is on a strong beat: the first, and the middle of a bar that has one."""
    place = tick % grid.bar
    beats = grid.bar // grid.beat
    return place == 0 or (beats % 2 == 0 and place == grid.bar // 2)
