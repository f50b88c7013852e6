"""Tempo by autocorrelation of the onset strength in windows, and the best path through all windows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.rhythm.octave import choose_octave
from segue_analyzer.rhythm.onsets import HOPS_PER_SECOND

if TYPE_CHECKING:
    from segue_audio.arrays import Float32, Float64, Index

SLOWEST: Final = 30.0
FASTEST: Final = 330.0
_STEPS_PER_OCTAVE: Final = 96
_WINDOW_S: Final = 8
_MULTIPLES: Final = (1.0, 0.9, 0.6, 0.8)
"""Weights of the first four multiples of a period: a bar mostly has four beats, seldom three."""
_USUAL: Final = 122.0
_USUAL_OCTAVES: Final = 0.75
"""Log-normal prior of beats per minute: median and standard deviation."""
_PLANNED_OCTAVES: Final = 0.4
_BLUR: Final = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9
"""Without it attacks of one hop would miss each other when a period is not a whole number of hops."""
_WINDOWS_AT_ONCE: Final = 64
_LEAST_S: Final = 2.0
_LEAST_BEATS: Final = 4
_LEAST_SALIENCE: Final = 0.12
_JUMP_COST: Final = 6.0
"""Cost of a change by one octave from window to window, in nats."""


@dataclass(frozen=True, slots=True)
class TempoPath:
    """The tempo in beats per minute, its confidence, the second best tempo, and the tempo over time."""

    beats_per_minute: float
    confidence: float
    other_beats_per_minute: float
    course: Float64
    """Beats per minute of every window; window w begins at w seconds."""


def find_tempo(strength: Float32, planned: float | None = None) -> TempoPath | None:
    """Find the tempo; None when nothing repeats, or the audio is too short."""
    if len(strength) < _LEAST_S * HOPS_PER_SECOND:
        return None
    raised = accents(strength)
    pulse = np.convolve(raised, _BLUR, mode="same")
    tempos = _grid(len(strength))
    if not pulse.any() or len(tempos) == 0:
        return None
    salience, weights, autocorrelation = _survey(pulse, tempos)
    prior = _prior(tempos, planned)
    mean = np.einsum("w,wt->t", weights, salience) / max(weights.sum(), 1e-12)
    if mean[int(np.argmax(mean * prior))] < _LEAST_SALIENCE:
        return None
    salience *= (weights / max(weights.mean(), 1e-12))[:, None]
    course = tempos[_path(salience, prior, tempos)]
    main = float(np.median(course))
    if planned is None:
        found = choose_octave(raised, autocorrelation, main, (float(tempos[-1]), FASTEST))
        rival, shift = found.rival, 2.0**found.shift
    else:
        rival, shift = _octave_rival(mean, prior, tempos, main), 1.0
    main, course = main * shift, course * shift
    refined = _refine(autocorrelation, main)
    other = _next_best(mean, prior, tempos, main)
    return TempoPath(refined, _confidence(mean, prior, tempos, main, rival), other, course * refined / main)


def accents(strength: Float32) -> Float64:
    """Subtract the running mean, keep the positive part, and scale it to a spread of 1."""
    width = min(len(strength), HOPS_PER_SECOND)
    values = strength.astype(np.float64)
    padded = np.pad(values, (width // 2, width - 1 - width // 2), mode="edge")
    sums = np.concatenate([[0.0], np.cumsum(padded)])
    raised = np.maximum(0.0, values - (sums[width:] - sums[:-width]) / width)
    spread = raised.std()
    # A smaller spread is only the rounding of silence.
    return raised / spread if spread > 1e-4 else np.zeros_like(raised)


def _grid(hops: int) -> Float64:
    """Return the tempos whose period fits often enough into the audio."""
    slowest = max(SLOWEST, 60.0 * _LEAST_BEATS * HOPS_PER_SECOND / hops)
    steps = int(math.log2(FASTEST / slowest) * _STEPS_PER_OCTAVE) if slowest < FASTEST else 0
    return FASTEST * 2.0 ** (-np.arange(steps) / _STEPS_PER_OCTAVE)


def _survey(pulse: Float64, tempos: Float64) -> tuple[Float64, Float64, Float64]:
    """Return the salience of every tempo in each window, the windows' weights, and the mean autocorrelation."""
    size = min(len(pulse), _WINDOW_S * HOPS_PER_SECOND)
    windows = np.lib.stride_tricks.sliding_window_view(pulse, size)[::HOPS_PER_SECOND]
    salience = np.zeros((len(windows), len(tempos)))
    weights = np.zeros(len(windows))
    total = np.zeros(size)
    for start in range(0, len(windows), _WINDOWS_AT_ONCE):
        part = slice(start, start + _WINDOWS_AT_ONCE)
        autocorrelation, weights[part] = _autocorrelations(windows[part])
        salience[part] = _salience(autocorrelation, tempos)
        total += np.einsum("w,wl->l", weights[part], autocorrelation)
    return salience, weights, total / max(weights.sum(), 1e-12)


def _autocorrelations(windows: Float64) -> tuple[Float64, Float64]:
    """Autocorrelation of each window, 1 at lag 0, and the window's weight: how much happens in it."""
    size = windows.shape[1]
    centred = windows - windows.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(centred, 2 * size, axis=1)
    lags = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, :size]
    overlap = np.arange(size, 0, -1) / size
    power = lags[:, :1]
    # Far lags have few samples to go by: their estimate is not scaled up without bound.
    scaled = lags / np.maximum(power, 1e-12) / np.maximum(overlap, 0.25)
    # The transforms leave a little less than nothing where a window is silent.
    return scaled, np.sqrt(np.maximum(power[:, 0], 0.0))


def _salience(autocorrelation: Float64, tempos: Float64) -> Float64:
    """How strongly each window repeats with each tempo's period and its multiples."""
    periods = 60.0 * HOPS_PER_SECOND / tempos
    found = np.zeros((len(autocorrelation), len(tempos)))
    total = np.zeros(len(tempos))
    for multiple, weight in enumerate(_MULTIPLES, start=1):
        inside = periods * multiple < autocorrelation.shape[1] - 1
        found[:, inside] += weight * _at(autocorrelation, periods[inside] * multiple)
        total[inside] += weight
    return np.maximum(0.0, found / np.maximum(total, 1e-12))


def _at(autocorrelation: Float64, lags: Float64) -> Float64:
    """Interpolate between the lags."""
    whole = lags.astype(np.intp)
    part = lags - whole
    read: Float64 = autocorrelation[:, whole] * (1 - part) + autocorrelation[:, whole + 1] * part
    return read


def _prior(tempos: Float64, planned: float | None) -> Float64:
    middle, spread = (_USUAL, _USUAL_OCTAVES) if planned is None else (planned, _PLANNED_OCTAVES)
    prior: Float64 = np.exp(-0.5 * (np.log2(tempos / middle) / spread) ** 2)
    return prior


def _gain(salience: Float64, prior: Float64) -> Float64:
    """Return the log score of every tempo, in nats."""
    gain: Float64 = 4.0 * np.minimum(salience, 1.0) + 0.5 * np.log(prior + 1e-9)
    return gain


def _path(salience: Float64, prior: Float64, tempos: Float64) -> Index:
    """Find the likeliest path by Viterbi; a jump costs by its size in octaves."""
    octaves = np.log2(tempos)
    cost = _JUMP_COST * np.abs(octaves[:, None] - octaves)
    total = _gain(salience[0], prior)
    steps = np.zeros(salience.shape, dtype=np.int16)
    for window in range(1, len(salience)):
        candidates = total[:, None] - cost
        steps[window] = candidates.argmax(axis=0)
        total = candidates[steps[window], np.arange(len(tempos))] + _gain(salience[window], prior)
    path = np.zeros(len(salience), dtype=np.intp)
    path[-1] = total.argmax()
    for window in range(len(salience) - 1, 0, -1):
        path[window - 1] = steps[window, path[window]]
    return path


def _refine(mean: Float64, tempo: float) -> float:
    """Refine a tempo at multiples of its period, where a small error adds up."""
    period = 60.0 * HOPS_PER_SECOND / tempo
    for multiple in (1, 2, 4, 8):
        reach = max(2.0, 0.02 * period * multiple)
        first = max(1, math.floor(period * multiple - reach))
        last = min(len(mean) - 2, math.ceil(period * multiple + reach))
        if last > len(mean) * 3 // 4 or last <= first:
            break
        peak = first + int(np.argmax(mean[first : last + 1]))
        left, middle, right = mean[peak - 1 : peak + 2]
        bend = left - 2 * middle + right
        if bend >= 0 or middle <= 0:
            break
        period = (peak + 0.5 * (left - right) / bend) / multiple
    return float(60.0 * HOPS_PER_SECOND / period)


def _next_best(mean: Float64, prior: Float64, tempos: Float64, main: float) -> float:
    """Return the second best tempo, often half or double; 0 when there is none."""
    away = np.abs(np.log2(tempos / main)) > 0.1
    octave = np.abs(np.abs(np.log2(tempos / main)) - 1) < 0.06
    scores = np.where(away, mean * np.sqrt(prior) * np.where(octave, 1.5, 1.0), 0.0)
    inner = np.zeros(len(scores), dtype=bool)
    inner[1:-1] = (scores[1:-1] >= scores[:-2]) & (scores[1:-1] >= scores[2:])
    if not (inner & (scores > 0)).any():
        return 0.0
    best = int(np.argmax(np.where(inner, scores, 0.0)))
    return float(tempos[best]) if mean[best] >= _LEAST_SALIENCE else 0.0


def _octave_rival(mean: Float64, prior: Float64, tempos: Float64, main: float) -> float:
    """Return how near half or double come to a tempo; 1 for a tie."""
    octaves = np.log2(tempos / main)
    octave = (np.abs(octaves) >= 0.1) & (np.abs(octaves - np.round(octaves)) < 0.06)
    gain = _gain(mean, prior)
    return float(np.where(octave, np.exp(gain - gain[int(np.argmin(np.abs(octaves)))]), 0.0).max(initial=0.0))


def _confidence(mean: Float64, prior: Float64, tempos: Float64, main: float, octave_rival: float) -> float:
    """Return the confidence: how well the tempo repeats, less its rivals; half and double count less."""
    octaves = np.log2(tempos / main)
    at = int(np.argmin(np.abs(octaves)))
    related = (np.abs(octaves) < 0.1) | (np.abs(octaves - np.round(octaves)) < 0.06)
    scores = mean * prior / max(float(mean[at] * prior[at]), 1e-12)
    rival = float(np.where(related, 0.0, scores).max(initial=0.0))
    doubt = 0.5 * min(1.0, rival) ** 2 + 0.4 * min(1.0, octave_rival) ** 2
    return float(np.clip(min(1.0, mean[at] / 0.5) * (1.0 - doubt), 0.0, 1.0))
