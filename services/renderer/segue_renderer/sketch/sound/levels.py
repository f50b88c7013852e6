"""Levels, decibels and K weighting, by arithmetic that gives the same bits on every machine.

Only float64 + - * / and sqrt are used: exp, pow, log and long sums differ between CPUs.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

POWER_BIN_S: Final = 0.1
"""Step in which loudness is predicted."""
DECIBEL: Final = 1.2589254117941673
"""One decibel as a factor of power."""
LOWEST_BODY_HZ: Final = 62.5


def k_weighting(frequency: float) -> float:
    """Return the K weighting of BS.1770 at a frequency, as a factor of power, to a few tenths of a decibel."""
    high = frequency / 1682.0
    low = frequency / 38.1
    shelf = (1.0 + 2.512 * high * high * high * high) / (1.0 + high * high * high * high)
    floor = low * low / (1.0 + low * low)
    return shelf * floor * floor


def resonance(body: tuple[float, ...], frequency: float) -> float:
    """Return a body's gain at a frequency, as a factor of amplitude; between octaves it is linear."""
    if not body:
        return 1.0
    octave, centre = 0, LOWEST_BODY_HZ
    while octave + 2 < len(body) and frequency >= 2.0 * centre:
        octave, centre = octave + 1, 2.0 * centre
    share = min(1.0, max(0.0, frequency / centre - 1.0))
    return sqrt(from_decibels(body[octave] + (body[octave + 1] - body[octave]) * share))


def to_decibels(power: float) -> float:
    """Return ten times the decimal logarithm, to 0.01, without a logarithm."""
    if power <= 0:
        return -120.0
    found = 0.0
    while power < 1.0:
        power *= DECIBEL
        found -= 1.0
    while power >= DECIBEL:
        power /= DECIBEL
        found += 1.0
    return found + (power - 1.0) * (1.0 - 0.46 * (power - DECIBEL)) / 0.2589254117941673


def from_decibels(decibels: float) -> float:
    """Return the power of a level, by products and a short series."""
    whole = int(decibels // 1)
    x = (decibels - whole) * 0.2302585092994046
    found = 1.0 + x * (1.0 + x * (0.5 + x / 6.0 * (1.0 + x / 4.0)))
    step = DECIBEL if whole > 0 else 1.0 / DECIBEL
    for _ in range(abs(whole)):
        found *= step
    return found


def ordered_sum(values: Sequence[float]) -> float:
    """Add in the given order: the result of a sum in another order differs in its last bits."""
    found = 0.0
    for value in values:
        found += value
    return found
