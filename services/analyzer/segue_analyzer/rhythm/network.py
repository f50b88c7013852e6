"""The beat network, run with numpy: how likely each hop is a beat, and the first beat of a bar.

`training/beats` made the weights, and has the same network in torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.rhythm.bands import BANDS, HOPS_PER_SECOND, level_of, levelled
from segue_analyzer.tonality.weights import stored_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue_analyzer.tonality.chroma import Harmony
    from segue_audio.arrays import Bools, Float32, Float64

WEIGHTS: Final = "beat_network.npz"
_WINDOW_HOPS: Final = 120 * HOPS_PER_SECOND
_MARGIN_HOPS: Final = 12 * HOPS_PER_SECOND
"""Hops before and after a window that the network hears too: as much as its training excerpts had."""
_AT_ONCE: Final = 512
"""Hops of the first layers at once; they bound memory."""
_LEAST_LEVEL: Final = 0.03
"""A window is raised to the level of all, by 30 dB at most: silence stays silence."""
_LEAST_BAND: Final = 0.05
"""A hop without a band above this, 75 dB below the level of all, is silent."""
_LONGEST_GAP_HOPS: Final = 3 * HOPS_PER_SECOND
"""A shorter silence is a rest: beats go on in it, as between the strokes of a drum."""
SILENT: Final = -20.0
"""The log odds of a beat in silence."""
_SLOWEST_CLASS: Final = 40.0
_CLASSES_PER_OCTAVE: Final = 8
_DOWNBEAT_WEIGHT: Final = float(np.log(6.0))
"""Training counts a downbeat six times; here it counts once again."""


@dataclass(frozen=True, slots=True)
class BeatActivations:
    """Log odds of a beat and of a downbeat, 50 times a second, tempos of each second, and the harmony."""

    beat: Float32
    downbeat: Float32
    tempos: Float32
    """Logits of the classes of tempo, summed over the sounding hops of each second."""
    harmony: Harmony | None = None

    def part(self, first_s: float, end_s: float) -> BeatActivations:
        """Return the part between two times."""
        first, end = (max(0, round(at * HOPS_PER_SECOND)) for at in (first_s, end_s))
        harmony = self.harmony.part(first_s, end_s) if self.harmony else None
        tempos = self.tempos[round(max(0.0, first_s)) : round(max(0.0, end_s))]
        return BeatActivations(self.beat[first:end], self.downbeat[first:end], tempos, harmony)

    def tempo_log_chance(self, beats_per_minute: float) -> float:
        """Return the log of the chance that the network gives a tempo."""
        mean = self.tempos.sum(axis=0) / max(1, np.count_nonzero(self.beat > SILENT))
        log_chances = mean - np.logaddexp.reduce(mean)
        return float(np.interp(tempo_places(beats_per_minute), np.arange(len(mean)), log_chances))


def tempo_places(beats_per_minute: Float64 | float) -> Float64:
    """Return where tempos lie among the classes, which are eighths of octaves."""
    places: Float64 = _CLASSES_PER_OCTAVE * np.log2(np.asarray(beats_per_minute) / _SLOWEST_CLASS)
    return places


def hear_beats(
    rows: np.ndarray[tuple[int, int], np.dtype[np.float16]], harmony: Harmony | None = None
) -> BeatActivations:
    """Run the network over a recording of any length, in windows."""
    weights = stored_weights(__package__ or "", WEIGHTS)
    loudest = level_of(rows)
    found = np.full((len(rows), 2), SILENT, dtype=np.float32)
    tempos: list[Float32] = []
    for start in range(0, len(rows), _WINDOW_HOPS):
        first, end = max(0, start - _MARGIN_HOPS), min(len(rows), start + _WINDOW_HOPS + _MARGIN_HOPS)
        window = rows[first:end]
        level = max(level_of(window), _LEAST_LEVEL * loudest)
        kept = slice(start - first, min(start + _WINDOW_HOPS, len(rows)) - first)
        classes = np.zeros((kept.stop - kept.start, len(weights["tempo.bias"])), dtype=np.float32)
        if level > 0:
            bands = levelled(window, level)
            sounds = _without_short_gaps(bands.max(axis=1) > _LEAST_BAND)[kept]
            beats, heard = run_network(weights, bands)
            found[start : start + _WINDOW_HOPS][sounds] = beats[kept][sounds]
            classes[sounds] = heard[kept][sounds]
        tempos.append(np.add.reduceat(classes, np.arange(0, len(classes), HOPS_PER_SECOND)))
    summed = np.concatenate(tempos) if tempos else np.zeros((0, len(weights["tempo.bias"])), dtype=np.float32)
    return BeatActivations(found[:, 0].copy(), found[:, 1] - np.float32(_DOWNBEAT_WEIGHT), summed, harmony)


def _without_short_gaps(sounds: Bools) -> Bools:
    """Return which hops sound, or lie in a rest between such."""
    found = sounds.copy()
    hops = np.flatnonzero(sounds)
    if len(hops) > 1:
        spans = np.diff(hops)
        found[hops[0] : hops[-1]] = np.repeat(spans <= _LONGEST_GAP_HOPS, spans)
        found[hops] = True
    return found


def run_network(weights: Mapping[str, Float32], bands: Float32) -> tuple[Float32, Float32]:
    """Return logits of beat and downbeat, (hops, 2), and of the classes of tempo, of levelled bands, (hops, bands)."""
    found = _front(weights, bands)
    number = 0
    while f"block{number}.wide.weight" in weights:
        wide = _dilated(found, weights[f"block{number}.wide.weight"], 2**number)
        wide += weights[f"block{number}.wide.bias"]
        found += _elu(wide) @ weights[f"block{number}.mix.weight"].T + weights[f"block{number}.mix.bias"]
        number += 1
    found = _elu(found)
    tempos: Float32 = found @ weights["tempo.weight"].T + weights["tempo.bias"]
    return found @ weights["out.weight"].T + weights["out.bias"], tempos


def _front(weights: Mapping[str, Float32], bands: Float32) -> Float32:
    """Return the channels that two convolutions over time and pitch and a sum of pitches make."""
    # Both convolutions see one hop to each side, and the rise two hops back.
    padded = np.zeros((len(bands) + 6, BANDS), dtype=np.float32)
    padded[4:-2] = bands
    rise = np.zeros_like(padded)
    rise[2:] = 2 * np.maximum(0, padded[2:] - padded[:-2])
    rise[:4], rise[-2:] = 0, 0
    pairs = np.stack([padded, rise], axis=2)[2:]
    parts: list[Float32] = []
    for start in range(0, len(bands), _AT_ONCE):
        hops = min(_AT_ONCE, len(bands) - start)
        inner = _convolved(pairs[start : start + hops + 4], weights["first.weight"], weights["first.bias"])
        # Beyond both ends the second convolution sees zeros, as in training.
        if start == 0:
            inner[0] = 0
        if start + hops == len(bands):
            inner[-1] = 0
        outer = _convolved(inner, weights["second.weight"], weights["second.bias"])
        # Channels come before pitches in the weights.
        joined: Float32 = outer.transpose(0, 2, 1).reshape(hops, -1) @ weights["join.weight"].T
        parts.append(joined + weights["join.bias"])
    return np.concatenate(parts) if parts else np.zeros((0, len(weights["join.bias"])), dtype=np.float32)


def _convolved(values: Float32, weight: Float32, bias: Float32) -> Float32:
    """Convolve (hops, pitches, channels) by 3 hops and 5 pitches, every second pitch; two hops fewer come out."""
    channels = weight.shape[0]
    windows = np.lib.stride_tricks.sliding_window_view(values, 5, axis=1)[:, ::2]
    hops, pitches = windows.shape[:2]
    flat = windows.reshape(hops, pitches, -1)
    total = np.zeros((hops - 2, pitches, channels), dtype=np.float32)
    for late in range(3):
        total += flat[late : hops - 2 + late] @ weight[:, :, late].reshape(channels, -1).T
    convolved: Float32 = np.maximum(0, total + bias)
    return convolved


def _dilated(values: Float32, weight: Float32, dilation: int) -> Float32:
    """Convolve (hops, channels) over time with five taps that are `dilation` hops apart."""
    hops = len(values)
    total = values @ weight[:, :, 2].T
    for tap in (0, 1, 3, 4):
        shift = (tap - 2) * dilation
        if abs(shift) >= hops:
            continue
        moved = values[max(0, shift) : hops + min(0, shift)] @ weight[:, :, tap].T
        total[max(0, -shift) : hops + min(0, -shift)] += moved
    return total


def _elu(values: Float32) -> Float32:
    return np.where(values > 0, values, np.expm1(np.minimum(values, 0)))
