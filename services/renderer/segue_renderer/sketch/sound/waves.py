"""Sines, wavetables and envelopes, by arithmetic that gives the same bits on every machine.

Only float64 sin + - * / and sqrt, and float32 + and * are used: exp, pow, log and long sums differ between CPUs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segue_audio.arrays import Int64, Mono

TWO_PI: Final = 6.283185307179586
SEMITONE: Final = 1.0594630943592953
CENT: Final = 0.0005777895
"""Change of a frequency for each cent; the ratio is nearly linear over a whole tone."""
VIBRATO_HZ: Final = 5.5
PHASE_BITS: Final = 32
SINE_BITS: Final = 16
WAVE_BITS: Final = 15
SINE: Final = np.sin(np.arange(1 << SINE_BITS) * (TWO_PI / (1 << SINE_BITS))).astype(np.float32)
LN2: Final = 0.6931471805599453
MONO_BELOW_HZ: Final = 120.0
"""Lower frequencies are the same on both sides."""
NYQUIST_SHARE: Final = 0.44
"""Partials above this share of the sample rate are left out."""


def _frequencies() -> tuple[float, ...]:
    # From A4 = 440 Hz, by multiplication and division only.
    table = [440.0] * 128
    for pitch in range(70, 128):
        table[pitch] = table[pitch - 1] * SEMITONE
    for pitch in range(68, -1, -1):
        table[pitch] = table[pitch + 1] / SEMITONE
    return tuple(table)


FREQUENCY: Final = _frequencies()


@lru_cache(maxsize=4)
def _frame_numbers_of(frames: int) -> Int64:
    return np.arange(frames, dtype=np.int64)


def frame_numbers(frames: int) -> Int64:
    """Return 0, 1, 2 … as a view of a cached array, which callers must not change."""
    size = 1 << max(12, (frames - 1).bit_length())
    return _frame_numbers_of(size)[:frames]


@lru_cache(maxsize=4)
def _frame_numbers32_of(size: int) -> NDArray[np.uint32]:
    return np.arange(size, dtype=np.uint32)


def _frame_numbers32(frames: int) -> NDArray[np.uint32]:
    return _frame_numbers32_of(1 << max(12, (frames - 1).bit_length()))[:frames]


def phase_step(frequency: float, rate: int) -> int:
    """Return a frequency as a step of the 32-bit phase."""
    return round(frequency / rate * (1 << PHASE_BITS))


def sine(frames: int, frequency: float, rate: int, turn: float = 0.0, *, first: int = 0) -> Mono:
    """Return a sine from frame `first` on; `turn` is the phase of frame 0, as a part of the cycle."""
    return look_up(SINE, SINE_BITS, frames, frequency, rate, turn, first=first)


def look_up(
    table: Mono,
    bits: int,
    frames: int,
    frequency: float,
    rate: int,
    turn: float = 0.0,
    bend: Mono | None = None,
    *,
    first: int = 0,
) -> Mono:
    """Read a wavetable at a frequency, from frame `first` on; `bend` shifts the phase by parts of the cycle."""
    step = phase_step(frequency, rate)
    # 32-bit integers: an overflow is one full cycle.
    phase = _frame_numbers32(frames) * np.uint32(step)
    phase += np.uint32((round(turn * (1 << PHASE_BITS)) + first * step) % (1 << PHASE_BITS))
    if bend is not None:
        phase += ((bend * np.float32(1 << 24)).astype(np.int32) << (PHASE_BITS - 24)).view(np.uint32)
    phase >>= np.uint32(PHASE_BITS - bits)
    return table.take(phase.view(np.int32))


def wavetable(weights: tuple[float, ...]) -> Mono:
    """Return one cycle of the given partials; spread phases keep the wave free of spikes."""
    size = 1 << WAVE_BITS
    total = np.zeros(size, dtype=np.float32)
    for number, weight in enumerate(weights, start=1):
        if weight:
            spread = number * number * 7919
            index = (frame_numbers(size) * (number << (SINE_BITS - WAVE_BITS)) + spread) & ((1 << SINE_BITS) - 1)
            total += SINE.take(index) * np.float32(weight)
    return total


def decay(frames: int, half_s: float, rate: int) -> Mono:
    """Return an exponential decay that halves in half_s; it is made by doubling, from products only."""
    ratio = 1.0 - LN2 / (half_s * rate)
    found = np.empty(frames, dtype=np.float32)
    found[:1] = 1.0
    done = 1
    while done < frames:
        step = min(done, frames - done)
        np.multiply(found[:step], np.float32(ratio), out=found[done : done + step])
        done += step
        ratio *= ratio
    return found


@lru_cache(maxsize=64)
def smooth_step(frames: int) -> Mono:
    """Return a smooth fade from 0 to 1."""
    time = (np.arange(frames, dtype=np.float64) + 0.5) / max(1, frames)
    return (time * time * (3.0 - 2.0 * time)).astype(np.float32)
