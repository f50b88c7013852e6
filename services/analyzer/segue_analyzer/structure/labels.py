"""Labels of parts: parts that sound alike have the same one."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from segue_analyzer.structure.bar_features import BarFeatures

_SAME: Final = 2.0
_DIFFERENCES: Final = np.array([-0.9, -1.2, -0.9, -6.8, -6.0, -1.4, -0.2])
"""Log odds that two parts have the same label, and what each difference between them takes away: of spectrum, attacks,
level and tones as a whole, of tones and spectrum bar by bar, and of the number of bars."""


def part_labels(features: BarFeatures, starts: list[int]) -> list[int]:
    """Return a number for each part: that of the earlier parts that it resembles most, or a new one."""
    parts = list(itertools.pairwise([*starts, len(features.level)]))
    labels: list[int] = []
    for index, part in enumerate(parts):
        odds = np.array([_same_odds(features, part, earlier) for earlier in parts[:index]])
        numbers = np.array(labels, dtype=np.intp)
        means = [float(odds[numbers == number].mean()) for number in range(max(labels, default=-1) + 1)]
        best = int(np.argmax(means)) if means else 0
        labels.append(best if means and means[best] > 0 else len(means))
    return labels


def label_text(number: int) -> str:
    """Return A to Z, then AA to ZZ."""
    last = chr(ord("A") + number % 26)
    return last if number < 26 else label_text(number // 26 - 1) + last


def _same_odds(features: BarFeatures, part: tuple[int, int], other: tuple[int, int]) -> float:
    """Return the log odds that two parts have the same label."""
    (first, end), (other_first, other_end) = part, other
    views = (features.spectrum, features.attacks, features.level, features.tones)
    whole = [_length(view[first:end].mean(axis=0) - view[other_first:other_end].mean(axis=0)) for view in views]
    bars = min(end - first, other_end - other_first)
    tones = features.tones[first : first + bars] - features.tones[other_first : other_first + bars]
    spectra = features.spectrum[first : first + bars] - features.spectrum[other_first : other_first + bars]
    # The mean of the bars' distances, and four times the mean difference of a group of bands.
    by_bar = [float(np.sqrt((tones**2).sum(axis=1)).mean()), 4.0 * float(np.abs(spectra).mean())]
    differences = np.array([*whole, *by_bar, float(end - first != other_end - other_first)])
    return _SAME + float((_DIFFERENCES * differences).sum())


def _length(vector: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    return float(np.sqrt((vector**2).sum()))
