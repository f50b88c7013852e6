"""Bars: the metre and the beats that open a bar, the likeliest over all metres at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.rhythm.downbeats import downbeat_log_odds

if TYPE_CHECKING:
    from segue_analyzer.rhythm.network import BeatActivations
    from segue_audio.arrays import Float64, Index

_METRES: Final = {4: 0.0, 3: -1.0, 2: -2.0, 6: -4.0, 5: -3.0, 7: -4.0}
"""Beats of a bar, with the log weight of a piece in it."""
_CHANGE_COST: Final = 7.0
"""Nats for a bar of another length."""
_LEAST_BARS: Final = 2
_LEAST_CHANCE: Final = 0.02
_LEAST_EVIDENCE: Final = 0.12
_LEAST_PLANNED_EVIDENCE: Final = 0.03
"""Nats a beat that bars must gain over downbeats at random; less is enough where a plan has said the metre."""


@dataclass(frozen=True, slots=True)
class Bars:
    """The beats that open bars, by number, and the most frequent number of beats in a bar."""

    downbeats: Index
    beats_per_bar: int
    evidence: float
    """Nats a beat gained over downbeats at random."""


def find_bars(beats_s: Float64, heard: BeatActivations, beats_per_bar: int | None = None) -> Bars | None:
    """Find the bars; None when no metre is distinct, or there are too few beats. A plan gives the metre."""
    if beats_per_bar == 1:
        return Bars(np.arange(len(beats_s)), 1, 0.0)
    metres = _METRES if beats_per_bar is None else {beats_per_bar: 0.0}
    if len(beats_s) < _LEAST_BARS * min(metres):
        return None
    log_odds = np.clip(downbeat_log_odds(heard, beats_s), -30, 30)
    chance: Float64 = np.clip(1 / (1 + np.exp(-log_odds)), _LEAST_CHANCE, 1 - _LEAST_CHANCE)
    places, lengths = _best_places(np.log(chance), np.log1p(-chance), metres)
    downbeats = np.flatnonzero(places == 0)
    if len(downbeats) == 0:
        return None
    evidence = _evidence(chance, places == 0)
    if evidence < (_LEAST_EVIDENCE if beats_per_bar is None else _LEAST_PLANNED_EVIDENCE):
        return None
    values, counts = np.unique(lengths, return_counts=True)
    return Bars(downbeats, int(values[counts.argmax()]), evidence)


def _best_places(opens: Float64, follows: Float64, metres: dict[int, float]) -> tuple[Index, Index]:
    """Return the position in its bar of every beat, and the length of its bar, by Viterbi."""
    lengths = np.repeat(list(metres), list(metres))
    places = np.concatenate([np.arange(length) for length in metres])
    usual: Float64 = np.repeat([metres[length] for length in metres], list(metres))
    first, last = np.flatnonzero(places == 0), np.flatnonzero(places == lengths - 1)
    changes: Float64 = np.where(lengths[last][:, None] == lengths[first], 0.0, -_CHANGE_COST + 0.5 * usual[first])
    gains: Float64 = np.repeat(follows[:, None], len(places), axis=1)
    gains[:, first] = opens[:, None]
    total: Float64 = usual + gains[0]
    came = np.zeros((len(opens), len(places)), dtype=np.intp)
    for beat in range(1, len(opens)):
        before: Float64 = np.roll(total, 1)
        origin = np.arange(-1, len(places) - 1)
        onward: Float64 = total[last][:, None] + changes
        best = onward.argmax(axis=0)
        before[first], origin[first] = onward[best, np.arange(len(first))], last[best]
        came[beat] = origin
        total = before + gains[beat]
    path = np.zeros(len(opens), dtype=np.intp)
    path[-1] = total.argmax()
    for beat in range(len(opens) - 1, 0, -1):
        path[beat - 1] = came[beat, path[beat]]
    return places[path], lengths[path]


def _evidence(chance: Float64, opens: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
    """Return how much better these bars explain the beats than downbeats at random, in nats a beat."""
    found = np.where(opens, np.log(chance), np.log1p(-chance))
    share = float(opens.mean())
    blind = share * np.log(chance) + (1 - share) * np.log1p(-chance)
    return float((found - blind).mean())
