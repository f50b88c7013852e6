"""Regular beats fitted to measured ones, and the shift that brings a section's beats onto those before it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

FITTED: Final = 8
"""Beats that the fit uses next to a join: a single beat may be measured a little early or late."""
LEAST_BEATS: Final = 4
LEAST_DOWNBEATS: Final = 2
OTHER_TEMPO: Final = 0.08
"""Beats whose tempo differs from the plan's by more than this ratio are not the planned beats."""
UNEVEN: Final = 0.15
"""Largest distance of a beat from the fit, in beats."""
ON_BEAT: Final = 0.05
"""A beat this little before a frame, in beats, counts as on it."""
OCTAVES: Final = (0.5, 1.0, 2.0)
"""Beat trackers may count at half or double speed; either way the beats fit."""


@dataclass(frozen=True, slots=True)
class RegularBeats:
    """Beats or bars at a constant distance, in frames of the timeline."""

    first: float
    period: float

    def offset_at(self, frame: float) -> float:
        """Return how far after a frame the nearest beat lies; negative means before, at most half a period."""
        periods = (frame - self.first) / self.period
        return (math.floor(periods + 0.5) - periods) * self.period

    def next_after(self, frame: float) -> float:
        """Return how far after a frame the next beat lies; a beat just before the frame counts as on it."""
        periods = (frame - self.first) / self.period
        return (math.ceil(periods - ON_BEAT) - periods) * self.period

    def moved(self, frames: float) -> RegularBeats:
        """Return the same beats, later by `frames`."""
        return RegularBeats(self.first + frames, self.period)


@dataclass(frozen=True, slots=True)
class SectionBeats:
    """Beats and bars at the start and at the end of one section; None where the fit failed."""

    beats_in: RegularBeats | None = None
    beats_out: RegularBeats | None = None
    bars_in: RegularBeats | None = None
    bars_out: RegularBeats | None = None


@dataclass(frozen=True, slots=True)
class ShiftRange:
    """How far a section can move before audio is missing; negative: not at all."""

    later: int
    earlier: int

    def allows(self, shift: int) -> bool:
        """Return whether the audio suffices for this shift."""
        return shift == 0 or -self.earlier <= shift <= self.later


def fit_section(
    beats: Sequence[float], downbeats: Sequence[float], beat_frames: float, bar_frames: float
) -> SectionBeats:
    """Fit measured beats; a fit is None for beats that are too few, uneven, or of another tempo than planned."""
    return SectionBeats(
        _fit(beats[:FITTED], beat_frames, LEAST_BEATS),
        _fit(beats[-FITTED:], beat_frames, LEAST_BEATS),
        _fit(downbeats[:FITTED], bar_frames, LEAST_DOWNBEATS),
        _fit(downbeats[-FITTED:], bar_frames, LEAST_DOWNBEATS),
    )


def shift_onto(wanted: float, own: RegularBeats, allowed: ShiftRange) -> int | None:
    """Return the smallest shift that puts a beat of `own` at frame `wanted` of the section; None: audio is missing."""
    base = -own.offset_at(wanted)
    around = sorted((round(base + count * own.period) for count in (-1, 0, 1)), key=lambda shift: (abs(shift), -shift))
    return next((shift for shift in around if allowed.allows(shift)), None)


def _fit(beats: Sequence[float], planned: float, least: int) -> RegularBeats | None:
    """Fit a straight line through beats by least squares."""
    if len(beats) < least:
        return None
    period = median(later - earlier for earlier, later in pairwise(beats))
    octave = min(OCTAVES, key=lambda each: abs(math.log(max(period, 1e-9) / (each * planned))))
    if abs(period / (octave * planned) - 1) > OTHER_TEMPO:
        return None
    # A missed beat leaves a gap of two periods.
    numbers = [0]
    for earlier, later in pairwise(beats):
        numbers.append(numbers[-1] + max(1, round((later - earlier) / period)))
    mean_number, mean_beat = math.fsum(numbers) / len(beats), math.fsum(beats) / len(beats)
    variance = math.fsum((number - mean_number) ** 2 for number in numbers)
    covariance = math.fsum(
        (number - mean_number) * (beat - mean_beat) for number, beat in zip(numbers, beats, strict=True)
    )
    slope = covariance / variance
    first = mean_beat - mean_number * slope
    if any(abs(first + number * slope - beat) > UNEVEN * slope for number, beat in zip(numbers, beats, strict=True)):
        return None
    return RegularBeats(first, slope / max(1.0, octave))
