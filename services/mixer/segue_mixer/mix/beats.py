"""Where measured beats lie, and how far a section moves so that its own meet those before it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

FITTED: Final = 8
"""Beats that tell where the others near them lie: one alone may be found a little early or late."""
LEAST_BEATS: Final = 4
LEAST_DOWNBEATS: Final = 2
OTHER_TEMPO: Final = 0.08
"""A tempo that is farther from the plan's, in ratio, is that of something else than its beats."""
UNEVEN: Final = 0.15
"""Beats that lie this far from a straight line, in beats, have none."""
ON_IT: Final = 0.05
OCTAVES: Final = (0.5, 1.0, 2.0)
"""Trackers count at half or double speed; either way a beat is a beat."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Beats, or bars, on a straight line, in frames of the timeline."""

    first: float
    unit: float

    def offset_at(self, frame: float) -> float:
        """How far after a frame the nearest beat lies; before it is negative, half a unit is the most."""
        units = (frame - self.first) / self.unit
        return (math.floor(units + 0.5) - units) * self.unit

    def next_after(self, frame: float) -> float:
        """How far after a frame the next beat lies; one that is hardly before it counts as on it."""
        units = (frame - self.first) / self.unit
        return (math.ceil(units - ON_IT) - units) * self.unit

    def moved(self, frames: float) -> Grid:
        """The same, so much later."""
        return Grid(self.first + frames, self.unit)


@dataclass(frozen=True, slots=True)
class Measured:
    """The beats of one section at its start and at its end, in frames of the timeline from its start."""

    beats_in: Grid | None = None
    beats_out: Grid | None = None
    bars_in: Grid | None = None
    bars_out: Grid | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """How far there is sound to move a section in; negative: not at all."""

    later: int
    earlier: int

    def allows(self, shift: int) -> bool:
        """Whether there is sound for it."""
        return shift == 0 or -self.earlier <= shift <= self.later


def measured(beats: Sequence[float], downbeats: Sequence[float], beat_frames: float, bar_frames: float) -> Measured:
    """Read measured beats; None where there are too few, they are uneven, or of another tempo than planned."""
    return Measured(
        _fitted(beats[:FITTED], beat_frames, LEAST_BEATS),
        _fitted(beats[-FITTED:], beat_frames, LEAST_BEATS),
        _fitted(downbeats[:FITTED], bar_frames, LEAST_DOWNBEATS),
        _fitted(downbeats[-FITTED:], bar_frames, LEAST_DOWNBEATS),
    )


def shift_onto(wanted: float, own: Grid, room: Room) -> int | None:
    """The smallest move that brings a beat of `own` to `wanted` frames after the section's first; None: no room."""
    base = -own.offset_at(wanted)
    around = sorted((round(base + count * own.unit) for count in (-1, 0, 1)), key=lambda shift: (abs(shift), -shift))
    return next((shift for shift in around if room.allows(shift)), None)


def _fitted(beats: Sequence[float], planned: float, least: int) -> Grid | None:
    if len(beats) < least:
        return None
    period = median(later - earlier for earlier, later in pairwise(beats))
    octave = min(OCTAVES, key=lambda each: abs(math.log(max(period, 1e-9) / (each * planned))))
    if abs(period / (octave * planned) - 1) > OTHER_TEMPO:
        return None
    # A beat that was not heard leaves a gap of two.
    numbers = [0]
    for earlier, later in pairwise(beats):
        numbers.append(numbers[-1] + max(1, round((later - earlier) / period)))
    mean_number, mean_beat = math.fsum(numbers) / len(beats), math.fsum(beats) / len(beats)
    spread = math.fsum((number - mean_number) ** 2 for number in numbers)
    together = math.fsum(
        (number - mean_number) * (beat - mean_beat) for number, beat in zip(numbers, beats, strict=True)
    )
    unit = together / spread
    first = mean_beat - mean_number * unit
    if any(abs(first + number * unit - beat) > UNEVEN * unit for number, beat in zip(numbers, beats, strict=True)):
        return None
    return Grid(first, unit / max(1.0, octave))
