"""Which of a chain's beats are the beats: all, every second or third, or those between too.

A small network compares the chain with its candidates by what is heard at their beats and between them.
`training/decisions` made its weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.rhythm.beats import FASTEST, SLOWEST
from segue_analyzer.rhythm.downbeats import beat_features, downbeat_log_odds_of, highest_near
from segue_analyzer.tonality.weights import stored_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue_analyzer.rhythm.network import BeatActivations
    from segue_audio.arrays import Float32, Float64

WEIGHTS: Final = "octave_network.npz"
# How much faster a candidate is, and where its first beat may be, in beats of the chain.
CANDIDATES: Final = (
    (1.0, (0.0,)),
    (1 / 2, (0.0, 1.0)),
    (2.0, (0.0,)),
    (2 / 3, (0.0, 0.5, 1.0)),
    (3 / 2, (0.0, 1 / 3)),
    (1 / 3, (0.0, 1.0, 2.0)),
    (3.0, (0.0,)),
)
FEATURES: Final = len(CANDIDATES) + 31
HARMONIC: Final = (6, 8, 10, 12, 22, 24, 26, 28)
"""Columns of the likeness of tones and bass to those of one to four beats before."""
_LEAST_BEATS: Final = 4
_LEAST_LOG_CHANCE: Final = -8.0
_TEMPO_WEIGHT: Final = np.float32(6.0)
"""The last column counts by itself too: loops of drums are plainer than what the network has learned from."""
_WORTH_OF_OCTAVE: Final = 0.8
"""An answer that is half, double, a third or three times of what is right is worth this much."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chain with other distances, and what is known of it."""

    ratio: float
    beats_per_minute: float
    features: Float32


def fitting_ratio(heard: BeatActivations, beats_s: Float64, beats_per_minute: float) -> float:
    """Return how much faster the beats are than the chain."""
    found = candidates(heard, beats_s, beats_per_minute)
    if len(found) < 2:
        return 1.0
    weights = stored_weights(__package__ or "", WEIGHTS)
    rows = np.stack([each.features for each in found])
    scores = run_on_candidates(weights, rows) + _TEMPO_WEIGHT * rows[:, -1]
    chances = np.exp(scores - scores.max())
    ratios = np.array([each.ratio for each in found])
    return float(ratios[int((_worth(ratios) @ chances).argmax())])


def _worth(ratios: Float64) -> Float64:
    """Return what each candidate (rows) is worth where another one (columns) is right."""
    away = np.maximum(ratios[:, None] / ratios, ratios / ratios[:, None])
    related = np.isclose(away, 2) | np.isclose(away, 3)
    worth: Float64 = np.isclose(away, 1) * 1.0 + related * _WORTH_OF_OCTAVE
    return worth


def candidates(heard: BeatActivations, beats_s: Float64, beats_per_minute: float) -> list[Candidate]:
    """Return the chain and its relatives in the range of tempos."""
    found: list[Candidate] = []
    for number, (ratio, phases) in enumerate(CANDIDATES):
        tempo = beats_per_minute * ratio
        if ratio != 1.0 and not SLOWEST <= tempo <= FASTEST:
            continue
        chains = [_taken(beats_s, 1 / ratio, phase) for phase in phases]
        levels = [highest_near(heard.beat, chain) for chain in chains]
        best = int(np.argmax([_chance(level).mean() if len(level) else 0.0 for level in levels]))
        if len(chains[best]) >= _LEAST_BEATS:
            kind = np.eye(len(CANDIDATES))[number]
            known = _features(heard, chains[best], levels[best], tempo)
            features = np.concatenate([kind, known]).astype(np.float32)
            found.append(Candidate(ratio, tempo, features))
    return found


def run_on_candidates(weights: Mapping[str, Float32], features: Float32) -> Float32:
    """Return a score of each candidate."""
    hidden = np.maximum(0, features @ weights["enter.weight"].T + weights["enter.bias"])
    hidden = np.maximum(0, hidden @ weights["middle.weight"].T + weights["middle.bias"])
    scores: Float32 = hidden @ weights["out.weight"][0]
    return scores


def _taken(beats_s: Float64, step: float, phase: float) -> Float64:
    """Return the times of every step-th beat; between the beats where a step is no whole number."""
    places = np.arange(phase, len(beats_s) - 1 + 1e-6, step)
    times: Float64 = np.interp(places, np.arange(len(beats_s)), beats_s)
    return times


def _chance(log_odds: Float64) -> Float64:
    chance: Float64 = 1 / (1 + np.exp(-np.clip(log_odds, -30, 30)))
    return chance


def _features(heard: BeatActivations, beats_s: Float64, level: Float64, tempo: float) -> Float64:
    spans = np.diff(beats_s)
    between = [_chance(highest_near(heard.beat, beats_s[:-1] + part * spans)).mean() for part in (1 / 2, 1 / 3, 2 / 3)]
    clipped = np.clip(level, -6, 6)
    opens = np.clip(highest_near(heard.downbeat, beats_s), -6, 6)
    octaves = np.log2(tempo / 110)
    rows = beat_features(heard, beats_s)
    bars = np.clip(downbeat_log_odds_of(rows), -6, 6)
    inner = rows[:, HARMONIC]
    return np.array(
        [
            octaves,
            octaves**2,
            _chance(level).mean(),
            clipped.mean() / 4,
            np.quantile(clipped, 0.25) / 4,
            between[0],
            (between[1] + between[2]) / 2,
            _stands_out(clipped, 2),
            _stands_out(clipped, 3),
            _chance(opens).mean(),
            *(_stands_out(opens, period) for period in (2, 3, 4)),
            _chance(bars).mean(),
            bars.std() / 2,
            *(_stands_out(bars, period) for period in (2, 3, 4)),
            *inner.mean(axis=0),
            inner[:, 0].std(),
            inner[:, 4].std(),
            min(_chance(level)[::2].mean(), _chance(level)[1::2].mean()),
            abs(clipped[::2].mean() - clipped[1::2].mean()) / 4,
            max(_LEAST_LOG_CHANCE, heard.tempo_log_chance(tempo)) / 4,
        ]
    )


def _stands_out(values: Float64, period: int) -> float:
    """Return how far the strongest of every so many beats stand out."""
    means = [values[phase::period].mean() for phase in range(min(period, len(values)))]
    return float(max(means) - values.mean()) / 4
