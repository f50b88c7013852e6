"""Rhythm and harmony of any window of a recording, from features that are kept anyway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.rhythm.bands import HOPS_PER_SECOND
from segue_analyzer.tonality.chroma import FRAMES_PER_SECOND

if TYPE_CHECKING:
    from segue_analyzer.rhythm.network import BeatActivations
    from segue_analyzer.tonality.chroma import Harmony
    from segue_audio.arrays import Float32, Float64

STEPS_PER_SECOND: Final = 2
_HOPS: Final = HOPS_PER_SECOND // STEPS_PER_SECOND
_LAGS: Final = range(14, 251, 2)
"""Distances in hops, 0.28 to 5 s: the long ones tell tempos apart that differ by 1 %."""
_QUIETEST: Final = 6.0
"""Bands count down to 52 dB below the loud ones."""
_QUIETEST_CHANGE: Final = 9.0
"""For cuts, 78 dB: the end of a ring-out counts."""
_BASS_WEIGHT: Final = 0.5
_TONAL: Final = 0.2
"""Frames with a smaller share of tones count less: the tones of drums are not harmony."""
_ROWS_AT_ONCE: Final = 4_000


@dataclass(frozen=True, slots=True)
class Texture:
    """Windows of a recording, (windows, values): how beats and onsets repeat, pitch classes, and the level of bands."""

    beats: Float64
    onsets: Float64
    chroma: Float64
    timbre: Float64


class TextureSums:
    """Sums of features up to each step of half a second, so that the texture of any window is a difference."""

    def __init__(
        self, rows: np.ndarray[tuple[int, int], np.dtype[np.float16]], heard: BeatActivations, harmony: Harmony
    ) -> None:
        self.steps = len(rows) // _HOPS
        self._rows = rows
        self._loud = float(np.percentile(rows.max(axis=1), 95)) if len(rows) else 0.0
        chance = 1 / (1 + np.exp(-np.clip(heard.beat[: self.steps * _HOPS].astype(np.float64), -30, 30)))
        self._beats, self._onsets = _repetitions(chance), _repetitions(_onsets(rows[: self.steps * _HOPS], self._loud))
        self._chroma = _running_sum(_tonal_chroma(harmony))
        self._timbre = _running_sum(_levels(rows[: self.steps * _HOPS], self._loud))

    def between(self, first: Float64, end: Float64) -> Texture:
        """Return the textures of windows whose edges are numbers of steps."""
        first_step, end_step = (np.clip(np.round(at).astype(np.intp), 0, self.steps) for at in (first, end))
        first_frame, end_frame = (
            np.minimum(at * FRAMES_PER_SECOND // STEPS_PER_SECOND, len(self._chroma) - 1)
            for at in (first_step, end_step)
        )
        return Texture(
            _shares(self._beats[end_step] - self._beats[first_step]),
            _shares(self._onsets[end_step] - self._onsets[first_step]),
            np.sqrt(np.maximum(0.0, self._chroma[end_frame] - self._chroma[first_frame])),
            (self._timbre[end_step] - self._timbre[first_step]) / np.maximum(1, end_step - first_step)[:, None],
        )

    def changes(self, first_s: float, end_s: float) -> tuple[Float64, Float64]:
        """Return times in seconds, and how much the bands change there from one second to the next, in nats."""
        first = max(0, round(first_s * HOPS_PER_SECOND))
        rows = self._rows[first : max(first, round(end_s * HOPS_PER_SECOND))].astype(np.float64)
        sums = _running_sum(np.maximum(rows - self._loud, -_QUIETEST_CHANGE))
        at = np.arange(HOPS_PER_SECOND, len(rows) - HOPS_PER_SECOND + 1)
        change = sums[at + HOPS_PER_SECOND] - 2 * sums[at] + sums[at - HOPS_PER_SECOND]
        return (first + at) / HOPS_PER_SECOND, np.abs(change).mean(axis=1) / HOPS_PER_SECOND


def unlike(one: Float64, other: Float64) -> Float64:
    """Return how unlike rows are: 0 for the same shape, 1 for shapes that have nothing in common."""
    one, other = one - one.mean(axis=1, keepdims=True), other - other.mean(axis=1, keepdims=True)
    size = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    found: Float64 = np.where(size > 1e-12, 1 - (one * other).sum(axis=1) / np.maximum(size, 1e-12), 0.0)
    return found


def _tonal_chroma(harmony: Harmony) -> Float64:
    chroma = harmony.treble + _BASS_WEIGHT * harmony.bass
    share = harmony.tone_power[:, 0] / np.maximum(harmony.tone_power[:, 1], 1e-12)
    # As in a key, loud frames count little more than soft ones.
    loudness = np.sqrt(np.maximum(chroma.sum(axis=1), 1e-9))
    weighted: Float64 = chroma * (np.minimum(1.0, share / _TONAL) / loudness)[:, None]
    return weighted


def _levels(rows: np.ndarray[tuple[int, int], np.dtype[np.float16]], loud: float) -> Float64:
    """Return the mean level of the bands in each step, in nats."""
    levels = np.zeros((len(rows) // _HOPS, rows.shape[1]))
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = np.maximum(rows[start : start + _ROWS_AT_ONCE].astype(np.float32) - np.float32(loud), -_QUIETEST)
        levels[start // _HOPS : (start + len(part)) // _HOPS] = part.reshape(-1, _HOPS, part.shape[1]).mean(axis=1)
    return levels


def _onsets(rows: np.ndarray[tuple[int, int], np.dtype[np.float16]], loud: float) -> Float64:
    """Return the rise of the bands at each hop."""
    onsets = np.zeros(len(rows))
    before: Float32 | None = None
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = np.maximum(rows[start : start + _ROWS_AT_ONCE].astype(np.float32) - np.float32(loud), -_QUIETEST)
        rise = np.diff(part, axis=0, prepend=part[:1] if before is None else before)
        onsets[start : start + len(part)] = np.maximum(0, rise).mean(axis=1)
        before = part[-1:]
    return onsets


def _repetitions(curve: Float64) -> Float64:
    """Return running sums of the products of a curve with itself at each distance, and of its squares last."""
    steps = len(curve) // _HOPS
    found = np.zeros((steps, len(_LAGS) + 1))
    if steps:
        around = np.convolve(curve, np.full(2 * HOPS_PER_SECOND, 0.5 / HOPS_PER_SECOND), "same")[: len(curve)]
        curve = curve - around
    for column, lag in enumerate((*_LAGS, 0)):
        if lag >= len(curve):
            continue
        # A product belongs to the middle between both hops.
        products = np.zeros(len(curve))
        products[lag // 2 : len(curve) - lag + lag // 2] = curve[: len(curve) - lag] * curve[lag:]
        found[:, column] = products.reshape(steps, _HOPS).sum(axis=1)
    return _running_sum(found)


def _shares(sums: Float64) -> Float64:
    shares: Float64 = sums[:, :-1] / np.maximum(sums[:, -1:], 1e-9)
    return shares


def _running_sum(rows: Float64) -> Float64:
    found = np.zeros((len(rows) + 1, rows.shape[1]))
    np.cumsum(rows, axis=0, out=found[1:])
    return found
