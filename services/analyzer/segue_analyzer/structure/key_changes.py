"""Keys over time: the likeliest sequence of keys of windows, with a cost for each change."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.report import KeySpan
from segue_analyzer.tonality.key import find_key
from segue_music.elements import Mode
from segue_music.theory import pitch_class

if TYPE_CHECKING:
    from segue_analyzer.report import MeasuredKey
    from segue_analyzer.tonality.chroma import Harmony
    from segue_audio.arrays import Float64
    from segue_music.elements import Key

MAX_SPANS: Final = 256
_WINDOW_S: Final = 12.0
_STEP_S: Final = 4.0
_CHANGE_COST: Final = 1.2
"""In confidences: about three windows must be surely in another key."""
_SECOND_BEST: Final = 0.6
"""The weight of a window's second best key."""


def find_key_changes(
    harmony: Harmony, overall: MeasuredKey | None, sample_rate: int, frames: int
) -> tuple[KeySpan, ...]:
    """Return the keys in time order; one where the key does not change, none without a key."""
    if overall is None:
        return ()
    whole = (KeySpan(0, frames, overall),)
    seconds = frames / sample_rate
    if seconds < 2 * _WINDOW_S:
        return whole
    step_s = _STEP_S * max(1, -(-int(seconds / _STEP_S) // (4 * MAX_SPANS)))
    middles = np.arange(0.5 * step_s, seconds, step_s)
    heard = [find_key(harmony.part(at - 0.5 * _WINDOW_S, at + 0.5 * _WINDOW_S)) for at in middles.tolist()]
    path = _likeliest(np.array([_weights(key) for key in heard]).reshape(-1, 24))
    starts = [0, *(index for index in range(1, len(path)) if path[index] != path[index - 1])]
    if len(starts) < 2 or len(starts) > MAX_SPANS:
        return whole
    edges_s = [0.0, *(float(middles[index] - 0.5 * step_s) for index in starts[1:]), seconds]
    return _spans(harmony, edges_s, sample_rate, frames) or whole


def _spans(harmony: Harmony, edges_s: list[float], sample_rate: int, frames: int) -> tuple[KeySpan, ...]:
    """Return the key of each span as a whole; neighbours with the same key are one."""
    found: list[KeySpan] = []
    for first_s, end_s in itertools.pairwise(edges_s):
        first, end = round(first_s * sample_rate), min(frames, round(end_s * sample_rate))
        key = find_key(harmony.part(first_s, end_s))
        if found and (key is None or key.key == found[-1].key.key):
            found[-1] = KeySpan(found[-1].first_frame, end - found[-1].first_frame, found[-1].key)
        elif key is not None:
            found.append(KeySpan(first if found else 0, end - (first if found else 0), key))
    return tuple(found)


def _weights(key: MeasuredKey | None) -> Float64:
    """Return how much a window speaks for each of the 24 keys."""
    weights = np.zeros(24)
    if key is not None:
        weights[_number(key.key)] = key.confidence
        weights[_number(key.other)] = max(weights[_number(key.other)], _SECOND_BEST * key.confidence)
    return weights


def _number(key: Key) -> int:
    return pitch_class(key.tonic) + (0 if key.mode is Mode.MAJOR else 12)


def _likeliest(weights: Float64) -> list[int]:
    """Return the sequence of keys with the most weight."""
    total = weights[0].copy()
    came: list[list[int]] = []
    for row in weights[1:]:
        best = int(total.argmax())
        changed = total[best] - _CHANGE_COST
        came.append(np.where(total >= changed, np.arange(24), best).tolist())
        total = np.maximum(total, changed) + row
    path = [int(total.argmax())]
    for row in reversed(came):
        path.append(row[path[-1]])
    return path[::-1]
