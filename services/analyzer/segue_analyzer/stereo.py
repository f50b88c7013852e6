"""Correlation of the two stereo channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from segue_audio.arrays import Float32


class StereoCorrelation:
    """Correlates the first two channels."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._sums = np.zeros(3)

    def push(self, planar: Float32) -> None:
        """Add samples, (channels, frames)."""
        if self._channels >= 2:
            left, right = planar[0].astype(np.float64), planar[1].astype(np.float64)
            # No matrix product: that starts threads, which slow down other calls.
            self._sums += [
                np.einsum("i,i", first, second) for first, second in ((left, left), (right, right), (left, right))
            ]

    def result(self) -> float | None:
        """Return 1 for equal channels, -1 for opposite ones; None for mono, or when a channel is silent."""
        left, right, both = self._sums.tolist()
        if self._channels < 2 or min(left, right) < 1e-9:
            return None
        return float(np.clip(both / np.sqrt(left * right), -1.0, 1.0))
