"""The energy over time: how loud, dense and bright each second is, relative to the recording's own range."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segue_analyzer.curves.onsets import Attacks
    from segue_audio.arrays import Float32, Float64

_MAX_VALUES: Final = 2_048
_RANGE_DB: Final = 24.0
"""Loudness below the loudest second that has no energy."""
_OCTAVES: Final = 2.0
_SHARES: Final = (0.6, 0.2, 0.2)
"""Shares of loudness, density and brightness."""
_SILENT: Final = 1e-12


def energy_curve(hop_powers: Float64, attacks: Attacks, centroids_hz: Float32, seconds: float) -> tuple[float, ...]:
    """Return the energy of equal parts of the recording: a second, or more where there would be too many."""
    count = min(_MAX_VALUES, math.ceil(seconds))
    if len(hop_powers) < count or float(hop_powers.max(initial=0.0)) < _SILENT:
        return ()
    powers = _means(hop_powers, count)
    loudness = 1 + 10 * np.log10(np.maximum(powers / _high(powers), 1e-12)) / _RANGE_DB
    rises = _means(attacks.rise, count)
    density = rises / max(_high(rises), 1e-9)
    brightness = _means(centroids_hz, count)
    bright = 1 + np.log2(np.maximum(brightness, 1.0) / max(_high(brightness), 1.0)) / _OCTAVES
    parts = [np.clip(each, 0.0, 1.0) for each in (loudness, density, bright)]
    energy = sum(share * part for share, part in zip(_SHARES, parts, strict=True)) * (powers > _SILENT)
    return tuple(np.round(np.asarray(energy), 4).tolist())


def _means(values: NDArray[np.floating], count: int) -> Float64:
    """Return the means of equal parts."""
    edges = np.linspace(0, len(values), count + 1)
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    found: Float64 = np.diff(np.interp(edges, np.arange(len(sums)), sums)) / max(len(values) / count, 1e-9)
    return found


def _high(values: Float64) -> float:
    """Return a value that is seldom passed."""
    return float(np.quantile(values, 0.95))
