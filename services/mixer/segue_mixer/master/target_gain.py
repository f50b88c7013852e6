"""The gain that reaches the target loudness, found from the levels of every step."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_audio.loudness import integrated
from segue_mixer.master.control_grid.steps import step_frames
from segue_mixer.master.gain_stage import SILENT_PEAK, GainComputer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from segue_audio.arrays import Float64
    from segue_mixer.master.control_grid.step_file import StepFile
    from segue_mixer.master.presets import MasterSettings

MAX_REDUCTION_DB: Final = 24.0
"""Limit of compression and limiting: it bounds the gain, and a warning says what loudness the result has instead."""
TOLERANCE_LU: Final = 0.005
ABSOLUTE_GATE_LUFS: Final = -70.0
_SILENCE_LUFS: Final = -200.0


def find_target_gain(
    settings: MasterSettings, draft_lufs: float | None, steps: StepFile, frames: int, sample_rate: int
) -> float:
    """Return the gain in dB whose result has the target loudness, or comes as near as the limits allow."""
    target = settings.target_lufs
    if target is None or draft_lufs is None:
        return 0.0
    hop_steps = sample_rate / 100 / step_frames(sample_rate)
    # As in the meter: whole hops of the piece, without the silence that fills the last block.
    borders = np.asarray(np.arange(frames * 100 // sample_rate + 1) * hop_steps, np.float64)

    def loudness_at(gain_db: float, settings: MasterSettings) -> float:
        computer = GainComputer(settings, gain_db, draft_lufs, sample_rate)
        loudness = integrated(_hop_powers(steps, computer, borders))
        return _SILENCE_LUFS if loudness is None else loudness

    without_dynamics = replace(settings, ceiling_dbtp=None, glue_ratio=1.0)
    lift_db, untouched = 0.0, loudness_at(0.0, without_dynamics)
    if untouched == _SILENCE_LUFS:
        # The tone moved the piece below the gate. With this lift, audio at the gate is at the target.
        lift_db = target - ABSOLUTE_GATE_LUFS
        untouched = loudness_at(lift_db, without_dynamics)
        if untouched == _SILENCE_LUFS:
            return 0.0
    # Compressor and limiter only reduce: a smaller gain cannot reach the target.
    low = target - untouched + lift_db
    high = low + MAX_REDUCTION_DB
    if settings.ceiling_dbtp is not None:
        loudest_db = 20 * float(np.log10(max(steps.highest_peak, SILENT_PEAK)))
        high = min(high, settings.ceiling_dbtp + MAX_REDUCTION_DB - loudest_db)
    return _root(lambda gain_db: loudness_at(gain_db, settings) - target, min(low, high), high)


def _hop_powers(steps: StepFile, computer: GainComputer, borders: Float64) -> Float64:
    """Return the mean power between neighbouring borders, counted in steps, after the computed gains."""
    sums: list[Float64] = []
    total, position, first_border = 0.0, 0, 0
    for energy in _energies(steps, computer):
        running = np.cumsum(np.concatenate(([total], energy)))
        end = position + len(energy)
        last_border = int(np.searchsorted(borders, end, "right"))
        places = borders[first_border:last_border] - position
        sums.append(np.interp(places, np.arange(len(running)), running))
        total, position, first_border = float(running[-1]), end, last_border
    # The last steps may end a little before the last border.
    sums.append(np.full(len(borders) - first_border, total))
    hops: Float64 = np.diff(np.concatenate(sums)) / (borders[1] if len(borders) > 1 else 1.0)
    return hops


def _energies(steps: StepFile, computer: GainComputer) -> Iterator[Float64]:
    waiting = np.zeros(0, np.float32)
    for peaks, powers in steps.read(silent_steps=-computer.next_out):
        start = computer.next_out
        gains = computer.push(peaks, powers)[max(0, -start) :]
        waiting = np.concatenate((waiting, powers))
        yield waiting[: len(gains)] * 10 ** (gains / 10)
        waiting = waiting[len(gains) :]


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Find the root of a function that rises, at most as fast as its argument; `high` when it stays below 0.

    `low` must not lie above the root. From there every step is safe until the first one overshoots.
    """
    at_low = function(low)
    if at_low >= -TOLERANCE_LU:
        return low
    guess, above = low - at_low, math.inf
    for _ in range(40):
        if above == math.inf and guess >= high:
            at_high = function(high)
            if at_high <= 0:
                return high
            above, guess = high, low - at_low * (high - low) / (at_high - at_low)
        at_guess = function(guess)
        if abs(at_guess) <= TOLERANCE_LU:
            return guess
        slope = (at_guess - at_low) / (guess - low)
        if at_guess < 0:
            low, at_low = guess, at_guess
        else:
            above = guess
        # Along the last slope; halfway where that leaves the known interval.
        guess = guess - at_guess / max(slope, 0.05)
        if not low < guess < above:
            guess = (low + above) / 2 if above < math.inf else high
    return low
