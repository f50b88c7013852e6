"""Bars, beats and ticks in seconds and frames.

Only sums, products and quotients of float64 are used, so that every machine places every note on the same frame.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.elements import Metre, TempoPoint
    from segue_music.plan import SectionSpec

TICKS_PER_QUARTER = 960
NANOSECONDS = 1_000_000_000
"""Nanoseconds in a second; durations of a plan are whole numbers of nanoseconds."""


def ticks_per_bar(metre: Metre) -> int:
    """Return a bar's length in ticks."""
    return metre.beats * TICKS_PER_QUARTER * 4 // metre.unit


def is_compound(metre: Metre) -> bool:
    """Tell whether the beat is a dotted note, as in 6/8, 9/8 and 12/8."""
    return metre.unit == 8 and metre.beats in {6, 9, 12}


def ticks_per_beat(metre: Metre) -> int:
    """Return the felt beat's length in ticks: the dotted quarter in 6/8, 9/8 and 12/8, else the metre's unit."""
    unit = TICKS_PER_QUARTER * 4 // metre.unit
    return unit * 3 if is_compound(metre) else unit


def beats_per_bar(metre: Metre) -> int:
    """Return the number of felt beats in a bar."""
    return ticks_per_bar(metre) // ticks_per_beat(metre)


def quarters_from_bpm(bpm: float, metre: Metre) -> float:
    """Return quarters a minute for a "bpm", which counts dotted quarters in 6/8, 9/8 and 12/8, else quarters."""
    return bpm * 1.5 if is_compound(metre) else bpm


def bpm_from_quarters(quarters_per_minute: float, metre: Metre) -> float:
    """Return the "bpm" of a tempo in quarters a minute."""
    return quarters_per_minute / 1.5 if is_compound(metre) else quarters_per_minute


@dataclass(frozen=True)
class TempoMap:
    """Maps the ticks of a section to seconds and frames."""

    points: tuple[TempoPoint, ...]
    seconds_at_point: tuple[float, ...]

    @classmethod
    def of(cls, points: Sequence[TempoPoint]) -> TempoMap:
        """Build the map; the first point must be at tick 0 and the points must ascend."""
        if not points or points[0].start_tick != 0:
            message = "a tempo map begins at tick 0"
            raise ValueError(message)
        seconds = [0.0]
        for earlier, later in pairwise(points):
            if later.start_tick <= earlier.start_tick:
                message = "tempo points ascend"
                raise ValueError(message)
            seconds.append(seconds[-1] + (later.start_tick - earlier.start_tick) * _seconds_per_tick(earlier))
        return cls(tuple(points), tuple(seconds))

    def seconds(self, tick: float) -> float:
        """Return the time of a tick in seconds from the section's start."""
        index = max(0, bisect_right(self.points, tick, key=lambda point: point.start_tick) - 1)
        point = self.points[index]
        return self.seconds_at_point[index] + (tick - point.start_tick) * _seconds_per_tick(point)

    def frame(self, tick: float, sample_rate: int) -> int:
        """Return the frame of a tick, counted from the section's start."""
        return round(self.seconds(tick) * sample_rate)


def _seconds_per_tick(point: TempoPoint) -> float:
    return 60.0 / (point.quarters_per_minute * TICKS_PER_QUARTER)


def section_frames(bars: int, metre: Metre, points: Sequence[TempoPoint], sample_rate: int) -> int:
    """Return the length of whole bars in frames; it does not depend on the section's place in the piece."""
    return TempoMap.of(points).frame(bars * ticks_per_bar(metre), sample_rate)


def tempo_map(spec: SectionSpec) -> TempoMap:
    """Return a complete section's tempo map."""
    return TempoMap.of(spec.tempo_points)
