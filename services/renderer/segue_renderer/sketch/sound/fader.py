"""Predicts the loudness of a section and sets one gain for each bar, so that loudness follows the planned energy."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_renderer.sketch.sound.levels import POWER_BIN_S, from_decibels, ordered_sum, to_decibels
from segue_renderer.sketch.sound.waves import smooth_step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_audio.arrays import Float32
    from segue_renderer.sketch.sound.sounding_notes import SoundingNote

QUIET_LUFS: Final = -29.0
LOUD_LUFS: Final = -18.5
OFFSET_DB: Final = -0.691
MAX_RIDE_DB: Final = 3.0
"""Largest gain of a bar against its section: larger differences are part of the music."""
RAMP_S: Final = 0.06
GATE_BINS: Final = 4
RELATIVE_GATE: Final = 0.1


class Fader:
    """One gain for each bar: the loudness of the bars follows the planned energy."""

    def __init__(self, rate: int, edges: Sequence[int], energy: Sequence[float]) -> None:
        self._rate = rate
        self._edges = edges
        self._wanted = [from_decibels(QUIET_LUFS + (LOUD_LUFS - QUIET_LUFS) * each - OFFSET_DB) for each in energy]
        self._gains = [1.0] * len(energy)
        self._power = np.zeros(max(1, -(-edges[-1] // round(rate * POWER_BIN_S))))

    def predict(self, notes: Sequence[tuple[SoundingNote, float]], *, closes: bool = False) -> None:
        """Add up the predicted power of all notes and set the gains.

        The factor of a note includes its share of the reverb. With `closes` the last bar is a single ringing chord:
        it is not raised to the loudness of a bar full of notes.
        """
        step = self._rate * POWER_BIN_S
        power = self._power
        for note, factor in notes:
            first = int(note.start / step)
            if 0 <= first < len(power):
                curve = note.predicted_powers()[: len(power) - first]
                power[first : first + len(curve)] += curve * factor
        bars = [self._mean(bar) for bar in range(len(self._gains))]
        section = ordered_sum(self._wanted) / max(1e-12, ordered_sum(bars))
        limit = from_decibels(MAX_RIDE_DB)
        for bar, (wanted, found) in enumerate(zip(self._wanted, bars, strict=True)):
            ride = wanted / max(1e-12, found * section)
            self._gains[bar] = sqrt(section * min(limit, max(1.0 / limit, ride)))
        if closes and len(bars) > 1:
            self._gains[-1] = min(self._gains[-1], self._gains[-2])

    def _mean(self, bar: int) -> float:
        first, end = self._bins(bar)
        return ordered_sum([float(each) for each in self._power[first:end]]) / (end - first)

    def _bins(self, bar: int) -> tuple[int, int]:
        step = self._rate * POWER_BIN_S
        first = min(len(self._power) - 1, int(self._edges[bar] / step))
        return first, max(first + 1, min(len(self._power), int(self._edges[bar + 1] / step)))

    def declared_lufs(self) -> float:
        """Return the predicted gated loudness of the section, to a tenth."""
        power = self._power.copy()
        for bar, gain in enumerate(self._gains):
            first, end = self._bins(bar)
            power[first:end] *= gain * gain
        size = min(GATE_BINS, len(power))
        blocks = [
            ordered_sum([float(each) for each in power[at : at + size]]) / size for at in range(len(power) - size + 1)
        ]
        gate = RELATIVE_GATE * ordered_sum(blocks) / len(blocks)
        loud = [block for block in blocks if block >= gate]
        return round(OFFSET_DB + to_decibels(ordered_sum(loud) / len(loud)), 1)

    def gains(self, first: int, frames: int) -> Float32 | np.float32:
        """Return the gain of each frame of a block; a gain changes just before the bar line."""
        last = len(self._gains) - 1
        low = self._bar_at(first)
        high = self._bar_at(first + frames - 1 + round(RAMP_S * self._rate))
        if low == high:
            return np.float32(self._gains[low])
        ramp = round(RAMP_S * self._rate)
        found = np.full(frames, self._gains[low], dtype=np.float32)
        for bar in range(low, high):
            begin = self._edges[bar + 1] - ramp - first
            change = smooth_step(ramp) * np.float32(self._gains[min(last, bar + 1)] - self._gains[bar])
            change += np.float32(self._gains[bar])
            at, end = max(0, begin), min(frames, begin + ramp)
            if at < end:
                found[at:end] = change[at - begin : end - begin]
            found[max(0, begin + ramp) :] = self._gains[min(last, bar + 1)]
        return found

    def _bar_at(self, frame: int) -> int:
        low, high = 0, len(self._gains) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self._edges[middle] <= frame:
                low = middle
            else:
                high = middle - 1
        return low
