"""Loudness of the piece so far, small enough for every checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_audio.loudness import Loudness, integrated, loudness_range, lufs_of

if TYPE_CHECKING:
    from segue_audio.arrays import Float64

_STEP_HOPS: Final = 10
_MOMENTARY_STEPS: Final = 4
_SHORT_TERM_STEPS: Final = 30


@dataclass(frozen=True, slots=True)
class PieceLoudness:
    """Powers of every 100 ms and the highest values so far."""

    steps: Float64 = field(default_factory=lambda: np.zeros(0))
    """Weighted mean square of every 100 ms: gated loudness and loudness range need no more."""
    hops: Float64 = field(default_factory=lambda: np.zeros(0))
    """Weighted mean squares of the last 10 ms hops that do not fill a step yet."""
    max_momentary_lufs: float | None = None
    max_short_term_lufs: float | None = None
    true_peak_dbtp: float | None = None
    sample_peak_dbfs: float | None = None

    def plus(self, hops: Float64, section: Loudness) -> PieceLoudness:
        """Return the loudness with one more section."""
        waiting = np.concatenate((self.hops, hops))
        whole = len(waiting) // _STEP_HOPS * _STEP_HOPS
        steps = waiting[:whole].reshape(-1, _STEP_HOPS).mean(axis=1)
        return PieceLoudness(
            np.concatenate((self.steps, steps)),
            waiting[whole:],
            _higher(self.max_momentary_lufs, section.max_momentary_lufs),
            _higher(self.max_short_term_lufs, section.max_short_term_lufs),
            _higher(self.true_peak_dbtp, section.true_peak_dbtp),
            _higher(self.sample_peak_dbfs, section.sample_peak_dbfs),
        )

    def last_second(self) -> float:
        """Return the weighted mean square of the last second; its start is exact to 100 ms."""
        last = np.concatenate((np.repeat(self.steps[-_STEP_HOPS:], _STEP_HOPS), self.hops))[-_STEP_HOPS * 10 :]
        return float(last.mean()) if len(last) else 0.0

    def loudness(self) -> Loudness:
        """Return the loudness of all sections together."""
        powers = np.repeat(self.steps, _STEP_HOPS)
        # The loudest window may span a join, where only the steps show it.
        return Loudness(
            integrated_lufs=integrated(powers),
            max_momentary_lufs=_higher(self.max_momentary_lufs, self._loudest(_MOMENTARY_STEPS)),
            max_short_term_lufs=_higher(self.max_short_term_lufs, self._loudest(_SHORT_TERM_STEPS)),
            range_lu=loudness_range(powers),
            true_peak_dbtp=self.true_peak_dbtp,
            sample_peak_dbfs=self.sample_peak_dbfs,
        )

    def _loudest(self, num_steps: int) -> float | None:
        """Return the highest mean over `num_steps` steps; None when the piece is shorter or silent."""
        if len(self.steps) < num_steps:
            return None
        return lufs_of(float(np.lib.stride_tricks.sliding_window_view(self.steps, num_steps).mean(axis=1).max()))


def _higher(first: float | None, second: float | None) -> float | None:
    return second if first is None else first if second is None else max(first, second)
