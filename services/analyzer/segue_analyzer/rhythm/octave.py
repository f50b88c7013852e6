"""The octave of a tempo, its half or double: chosen by range, by attacks per beat and by attacks between beats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.rhythm.onsets import HOPS_PER_SECOND

if TYPE_CHECKING:
    from segue_audio.arrays import Float64

SHIFTS: Final = (-1, 0, 1)

# Fitted to 445 pieces of the sketch band's 35 genres and to plain clicks and drums, without their plans. Fitted to all
# genres but one, it was right in 97 of 100 pieces of that one.
_USUAL: Final = 85.0
_USUAL_WEIGHT: Final = 2.1
"""Nats per squared octave of distance from the usual beats per minute."""
_ATTACKS_PER_BEAT: Final = 1.3
_ATTACKS_WEIGHT: Final = 4.3
_ATTACKS_MOST: Final = 1.0
"""Pads and noise have any number of attacks: the cost ends at one octave."""
_BETWEEN: Final = 0.45
_BETWEEN_WEIGHT: Final = 7.6
"""Usual autocorrelation of the beats with the middle between them."""
_EQUAL: Final = 0.8
_EQUAL_WEIGHT: Final = 17.0
"""Attacks in the middle as strong as on the beat are beats themselves."""
_STRONG: Final = 1.0
"""Attacks count when they exceed the spread of all."""
_LEAST_PER_SECOND: Final = 0.2


@dataclass(frozen=True, slots=True)
class OctaveChoice:
    """The shift of a tempo in octaves, and how near its best rival comes, 0 to 1."""

    shift: int
    rival: float


def choose_octave(
    raised: Float64, autocorrelation: Float64, tempo: float, allowed: tuple[float, float]
) -> OctaveChoice:
    """Choose between a tempo, its half and its double, within the allowed range.

    `raised` is the strength of attacks above their running mean, in units of their spread, on the hops of the onsets.
    """
    rate = max(_LEAST_PER_SECOND, _attacks_per_second(raised))
    low, high = allowed
    scores = {
        shift: _score(tempo * 2.0**shift, rate, autocorrelation)
        for shift in SHIFTS
        if shift == 0 or low <= tempo * 2.0**shift <= high
    }
    best = max(scores, key=lambda shift: scores[shift])
    rivals = [np.exp(score - scores[best]) for shift, score in scores.items() if shift != best]
    return OctaveChoice(best, float(max(rivals, default=0.0)))


def _score(tempo: float, attacks_per_second: float, autocorrelation: Float64) -> float:
    """Return the log likelihood that this tempo is the beat, in nats."""
    usual = np.log2(tempo / _USUAL) ** 2
    attacks = min(_ATTACKS_MOST, np.log2(attacks_per_second * 60.0 / tempo / _ATTACKS_PER_BEAT) ** 2)
    between = _highest_near(autocorrelation, 30.0 * HOPS_PER_SECOND / tempo)
    unlike = (between - _BETWEEN) ** 2
    equal = max(0.0, between - _EQUAL)
    weighed = (_USUAL_WEIGHT * usual, _ATTACKS_WEIGHT * attacks, _BETWEEN_WEIGHT * unlike, _EQUAL_WEIGHT * equal)
    return -float(sum(weighed))


def _attacks_per_second(raised: Float64) -> float:
    """Return the number of clear attacks per second."""
    left, middle, right = raised[:-2], raised[1:-1], raised[2:]
    maxima = (middle > left) & (middle >= right) & (middle > _STRONG)
    return float(np.count_nonzero(maxima)) / len(raised) * HOPS_PER_SECOND


def _highest_near(autocorrelation: Float64, lag: float) -> float:
    """Return the highest value within 3 % of a lag, at least one hop to each side; 0 beyond the end."""
    reach = max(1, round(lag * 0.03))
    near = autocorrelation[max(0, round(lag) - reach) : round(lag) + reach + 1]
    return float(near.max(initial=-1.0)) if len(near) > 2 * reach else 0.0
