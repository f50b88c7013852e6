"""The log odds that each beat opens a bar, by a small network over beats.

It hears what the beat network heard at every beat, and how much the harmony of a beat is that of its neighbours:
chords change with bars, and bars are repeated. It hears no pitch, so that it is the same in every key.
`training/decisions` made its weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.rhythm.bands import HOPS_PER_SECOND
from segue_analyzer.tonality.chroma import FRAMES_PER_SECOND
from segue_analyzer.tonality.weights import stored_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue_analyzer.rhythm.network import BeatActivations
    from segue_analyzer.tonality.chroma import Harmony
    from segue_audio.arrays import Float32, Float64

WEIGHTS: Final = "downbeat_network.npz"
FEATURES: Final = 39
FIRST_HARMONIC: Final = 6
"""Columns from here on tell of the harmony; they are 0 without one."""
DILATIONS: Final = (1, 2, 4)
_LAGS: Final = 8
_EDGE_S: Final = 0.6
_LEAST_TONE_SHARE: Final = 0.05
"""Below it there is no harmony: drums and noise are alike by chance."""


def downbeat_log_odds(heard: BeatActivations, beats_s: Float64) -> Float64:
    """Return the log odds of a downbeat at each beat."""
    return downbeat_log_odds_of(beat_features(heard, beats_s))


def downbeat_log_odds_of(features: Float32) -> Float64:
    """Return the log odds of a downbeat at each beat, from what is known of it."""
    return run_over_beats(stored_weights(__package__ or "", WEIGHTS), features)


def beat_features(heard: BeatActivations, beats_s: Float64) -> Float32:
    """Return what is known of each beat, (beats, FEATURES)."""
    periods = np.diff(beats_s, append=2 * beats_s[-1] - beats_s[-2])
    inside = (beats_s > _EDGE_S) & (beats_s < len(heard.beat) / HOPS_PER_SECOND - _EDGE_S)
    opens = highest_near(heard.downbeat, beats_s)
    # At the ends of the sound the network has half of its surroundings: these beats say nothing.
    opens = np.where(inside, opens, np.median(opens[inside]) if inside.any() else -3.0)
    found = [
        opens,
        highest_near(heard.beat, beats_s),
        highest_near(heard.beat, beats_s + periods / 2),
        highest_near(heard.downbeat, beats_s + periods / 2),
        4 * np.log2(np.clip(periods, 0.1, 4.0) / 0.5),
    ]
    columns = [np.clip(each, -8, 8) / 4 for each in found]
    columns.append(inside.astype(np.float64))
    columns += _harmonic_columns(heard.harmony, beats_s, periods)
    return np.stack(columns, axis=1).astype(np.float32)


def highest_near(log_odds: Float32, times_s: Float64) -> Float64:
    """Return the highest log odds within 40 ms of each time."""
    hops = np.round(times_s * HOPS_PER_SECOND).astype(np.intp)[:, None] + np.arange(-2, 3)
    highest: Float64 = log_odds[np.clip(hops, 0, len(log_odds) - 1)].max(axis=1).astype(np.float64)
    return highest


def _harmonic_columns(harmony: Harmony | None, beats_s: Float64, periods: Float64) -> list[Float64]:
    """Return the likeness of each beat's tones and bass to those of the beats before and after, and its level."""
    count = len(beats_s)
    if harmony is None or len(harmony.level) == 0 or harmony.tone_share < _LEAST_TONE_SHARE:
        return [np.zeros(count)] * (4 * _LAGS + 1)
    columns: list[Float64] = []
    for rows in (harmony.treble, harmony.bass):
        tones = np.zeros((count, rows.shape[1]))
        for part in (0.3, 0.5, 0.7):
            tones += _at(rows, beats_s + part * periods)
        tones /= np.maximum(np.sqrt((tones**2).sum(axis=1, keepdims=True)), 1e-9)
        for lag in range(1, _LAGS + 1):
            likeness = (tones[lag:] * tones[:-lag]).sum(axis=1)
            missing = np.full(count - len(likeness), 0.5)
            columns += [np.concatenate([missing, likeness]) - 0.5, np.concatenate([likeness, missing]) - 0.5]
    level = _at(harmony.level[:, None], beats_s + 0.3 * periods)[:, 0]
    columns.append(np.clip(level / max(float(level.mean()), 1e-9) - 1, -1, 2))
    return columns


def _at(rows: Float64, times_s: Float64) -> Float64:
    """Return rows between the frames, by lines."""
    place = np.clip(times_s * FRAMES_PER_SECOND, 0, len(rows) - 1)
    whole = np.minimum(place.astype(np.intp), max(0, len(rows) - 2))
    part = (place - whole)[:, None]
    between: Float64 = rows[whole] * (1 - part) + rows[np.minimum(whole + 1, len(rows) - 1)] * part
    return between


def run_over_beats(weights: Mapping[str, Float32], features: Float32) -> Float64:
    """Return one logit a beat; `training/decisions` has the same network in torch."""
    found = np.maximum(0, features @ weights["enter.weight"].T + weights["enter.bias"])
    for number, dilation in enumerate(DILATIONS):
        wide = _over_neighbours(found, weights[f"block{number}.weight"], dilation)
        found = found + np.maximum(0, wide + weights[f"block{number}.bias"])
    logits: Float64 = (found @ weights["out.weight"][0] + weights["out.bias"]).astype(np.float64)
    return logits + features[:, 0]


def _over_neighbours(values: Float32, weight: Float32, dilation: int) -> Float32:
    """Convolve (beats, channels) with five taps that are `dilation` beats apart; zeros are beyond the ends."""
    reach = 2 * dilation
    padded = np.pad(values, ((reach, reach), (0, 0)))
    total = np.zeros_like(values)
    for tap in range(5):
        total += padded[tap * dilation : tap * dilation + len(values)] @ weight[:, :, tap].T
    return total
