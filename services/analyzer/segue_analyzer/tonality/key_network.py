"""The log odds of the 24 keys, by a small network that hears each of the twelve transpositions alike.

`training/decisions` made its weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.tonality.weights import stored_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue_audio.arrays import Float32, Float64

WEIGHTS: Final = "key_network.npz"
ROWS: Final = 6
_ENDS: Final = 6
"""The first and the last of so many parts say most about the tonic."""
_PRESENT: Final = 0.35
_CLASSES: Final = (np.arange(12) + np.arange(12)[:, None]) % 12
"""The pitch class of each degree, (tonics, degrees)."""


def key_log_chances(treble: Float64, bass: Float64) -> Float64:
    """Return the log of the chance of each key, major from C up and then minor, of pitch classes over time."""
    scores = run_on_transpositions(stored_weights(__package__ or "", WEIGHTS), key_rows(treble, bass))
    found: Float64 = scores - np.log(np.exp(scores - scores.max()).sum()) - scores.max()
    return found


def key_rows(treble: Float64, bass: Float64) -> Float64:
    """Return rows of twelve: of all, of the bass, of both ends, and how often each class sounds."""
    mixed = treble + 0.25 * bass
    part = max(1, len(mixed) // _ENDS)
    present = (mixed > _PRESENT * mixed.max(axis=1, keepdims=True)) & (mixed > 0)
    whole = summed(treble)
    rows = [whole, summed(bass), summed(mixed[:part]), summed(mixed[-part:]), np.sqrt(whole), present.mean(axis=0)]
    stacked = np.stack(rows)
    found: Float64 = stacked / np.maximum(stacked.mean(axis=1, keepdims=True), 1e-9) - 1
    return found


def summed(rows: Float64) -> Float64:
    """Return the sum of frames, with the loudness of each compressed."""
    loudness = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    compressed: Float64 = (rows / np.sqrt(np.maximum(loudness, 1e-9))).sum(axis=0)
    return compressed / max(float(compressed.sum()), 1e-12)


def run_on_transpositions(weights: Mapping[str, Float32], rows: Float64) -> Float64:
    """Return a score of each key; `training/decisions` has the same network in torch."""
    moved = rows[:, _CLASSES].transpose(1, 0, 2).reshape(12, -1)
    hidden = np.maximum(0, moved @ weights["enter.weight"].T + weights["enter.bias"])
    scores: Float64 = (hidden @ weights["out.weight"].T + weights["out.bias"]).astype(np.float64).T.ravel()
    return scores
