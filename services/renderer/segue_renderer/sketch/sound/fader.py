"""Predicts the loudness of a section and sets its gain over time, so that loudness follows the planned energy."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from math import sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_renderer.sketch.sound.levels import POWER_BIN_S, from_decibels, ordered_sum, to_decibels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_audio.arrays import Float32, Stereo
    from segue_renderer.sketch.sound.sounding_notes import SoundingNote

OFFSET_DB: Final = -0.691
MAX_RIDE_DB: Final = 4.5
"""Largest gain of a bar against its section: larger differences are part of the music."""
RAMP_S: Final = 0.06
"""Length of a sudden change, just before the bar line."""
SUDDEN_DB: Final = 3.0
"""Smaller changes between bars are a crescendo or diminuendo from the middle of one bar to that of the next."""
GATE_BINS: Final = 4
RELATIVE_GATE: Final = 0.1
END: Final = 1 << 60


class Fader:
    """The gain of a section over time: the loudness of the bars follows the planned one."""

    def __init__(self, rate: int, edges: Sequence[int], wanted_lufs: Sequence[float]) -> None:
        self._rate = rate
        self._edges = edges
        self._wanted = [from_decibels(each - OFFSET_DB) for each in wanted_lufs]
        self._places: list[int] = [0, END]
        self._gains: list[float] = [1.0, 1.0]
        self._power = np.zeros(max(1, -(-edges[-1] // round(rate * POWER_BIN_S))))

    def predict(
        self, notes: Sequence[tuple[SoundingNote, float]], *, closes: bool = False, loops: bool = False
    ) -> None:
        """Add up the predicted power of all notes and set the gains.

        The factor of a note includes its share of the reverb. With `closes` the last bar is a single ringing chord:
        it is not raised to the loudness of a bar full of notes. With `loops` the gain returns to the first one at the
        end.
        """
        step = self._rate * POWER_BIN_S
        power = self._power
        for note, factor in notes:
            first = int(note.start / step)
            if 0 <= first < len(power):
                curve = note.predicted_powers()[: len(power) - first]
                power[first : first + len(curve)] += curve * factor
        found = [self._mean(bar) for bar in range(len(self._wanted))]
        section = ordered_sum(self._wanted) / max(1e-12, ordered_sum(found))
        limit = from_decibels(MAX_RIDE_DB)
        gains = []
        for wanted, present in zip(self._wanted, found, strict=True):
            ride = wanted / max(1e-12, present * section)
            gains.append(sqrt(section * min(limit, max(1.0 / limit, ride))))
        if closes and len(gains) > 1:
            gains[-1] = min(gains[-1], gains[-2])
        self._set(gains, end=gains[0] if loops else gains[-1])

    def _set(self, gains: Sequence[float], *, end: float) -> None:
        """Make the curve through the gains of the bars, and to the gain at the end."""
        ramp, sudden = round(RAMP_S * self._rate), sqrt(from_decibels(SUDDEN_DB))
        self._places, self._gains = [0], [gains[0]]
        for bar in range(1, len(gains)):
            low, high = sorted(gains[bar - 1 : bar + 1])
            begin, edge, after = self._edges[bar - 1 : bar + 2]
            if high > sudden * low:
                places = max(begin + 1, edge - ramp), edge
            else:
                places = (begin + edge) // 2, (edge + after) // 2
            self._places += [max(self._places[-1] + 1, places[0]), max(self._places[-1] + 2, places[1])]
            self._gains += [gains[bar - 1], gains[bar]]
        last = max(self._places[-1] + 1, self._edges[-1] - ramp)
        self._places += [last, max(last + 1, self._edges[-1]), END]
        self._gains += [gains[-1], end, end]

    def _mean(self, bar: int) -> float:
        first, end = self._bins(bar)
        return ordered_sum([float(each) for each in self._power[first:end]]) / (end - first)

    def _bins(self, bar: int) -> tuple[int, int]:
        step = self._rate * POWER_BIN_S
        first = min(len(self._power) - 1, int(self._edges[bar] / step))
        return first, max(first + 1, min(len(self._power), int(self._edges[bar + 1] / step)))

    def declared_lufs(self) -> float:
        """Return the predicted gated loudness of the section, to a tenth."""
        step = self._rate * POWER_BIN_S
        power = []
        for number, each in enumerate(self._power):
            gain = self._gain_at(int((number + 0.5) * step))
            power.append(float(each) * gain * gain)
        size = min(GATE_BINS, len(power))
        blocks = [ordered_sum(power[at : at + size]) / size for at in range(len(power) - size + 1)]
        gate = RELATIVE_GATE * ordered_sum(blocks) / len(blocks)
        loud = [block for block in blocks if block >= gate]
        return round(OFFSET_DB + to_decibels(ordered_sum(loud) / len(loud)), 1)

    def _gain_at(self, frame: int) -> float:
        index = bisect_right(self._places, frame) - 1
        low, high = self._gains[index : index + 2]
        begin, end = self._places[index : index + 2]
        return low + (high - low) / (end - begin) * (frame - begin)

    def gains(self, first: int, frames: int) -> Stereo | np.float32:
        """Return the gain of each frame of a block for both sides, or the one gain of the whole block."""
        low = bisect_right(self._places, first) - 1
        high = bisect_left(self._places, first + frames)
        if len(set(self._gains[low : high + 1])) == 1:
            return np.float32(self._gains[low])
        found = np.empty((frames, 2), dtype=np.float32)
        for index in range(low, high):
            begin, end = self._places[index : index + 2]
            since, until = max(first, begin), min(first + frames, end)
            found[since - first : until - first] = self._line(index, since, until)[:, None]
        return found

    def _line(self, index: int, first: int, end: int) -> Float32:
        """Return the part of a line of the curve between two frames."""
        begin, last = self._places[index : index + 2]
        slope = (self._gains[index + 1] - self._gains[index]) / (last - begin)
        line = np.arange(first - begin, end - begin, dtype=np.float64)
        line *= slope
        line += self._gains[index]
        return line.astype(np.float32)
