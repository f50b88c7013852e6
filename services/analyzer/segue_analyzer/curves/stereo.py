"""The stereo image and the mean square, over time and of the whole."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.report import StereoPoint
from segue_analyzer.spectra import GrowingRows

if TYPE_CHECKING:
    from segue_audio.arrays import Float32, Float64

_MAX_POINTS: Final = 2_048
_SUMMED: Final = 256
"""Products that are summed as float32."""
_SILENT: Final = 1e-9
"""Sum of squares of a silent channel in a second."""


class StereoMeter:
    """Sums squares and products of the first two channels over each second, and squares of all channels."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._channels = channels
        self._cell_frames = sample_rate
        self._open_cell = np.zeros(4)
        self._filled = 0
        self._rows = GrowingRows(4, np.float64)

    def push(self, planar: Float32) -> None:
        """Add samples, (channels, frames)."""
        position = 0
        while position < planar.shape[1]:
            part = planar[:, position : position + self._cell_frames - self._filled]
            squares = _products(part, part)
            both = _products(part[:1], part[1:2])[0] if self._channels > 1 else 0.0
            self._open_cell += (squares[0], squares[min(1, self._channels - 1)], both, squares.sum())
            self._filled += part.shape[1]
            position += part.shape[1]
            if self._filled == self._cell_frames:
                self._close_cell()

    def finish(self) -> None:
        """End the stream."""
        if self._filled:
            self._close_cell()

    def correlation(self) -> float | None:
        """Return 1 for equal channels, -1 for opposite ones; None for mono, or when a channel is silent."""
        if self._channels < 2:
            return None
        return _image(self._rows.rows().sum(axis=0))[0]

    def crest_db(self, sample_peak: float, frames: int) -> float | None:
        """Return the sample peak over the root mean square of all channels; None in silence."""
        power = float(self._rows.rows()[:, 3].sum()) / max(1, frames * self._channels)
        return 10 * math.log10(sample_peak**2 / power) if power > 1e-15 and sample_peak > 0 else None

    def curve(self) -> tuple[StereoPoint, ...]:
        """Return the image of each second, or of more where there would be too many; none for one channel."""
        rows = self._rows.rows()
        if self._channels < 2 or len(rows) == 0:
            return ()
        seconds = -(-len(rows) // _MAX_POINTS)
        sums = np.add.reduceat(rows, np.arange(0, len(rows), seconds), axis=0)
        frames = self._cell_frames * seconds
        return tuple(StereoPoint(index * frames, *_image(row)) for index, row in enumerate(sums))

    def _close_cell(self) -> None:
        self._rows.extend(self._open_cell[None])
        self._open_cell[:] = 0.0
        self._filled = 0


def _products(one: Float32, other: Float32) -> Float64:
    """Return the sum of products of each row; float32 suffices for a few hundred of them."""
    whole = one.shape[1] // _SUMMED * _SUMMED
    rows = (len(one), -1, _SUMMED)
    # No matrix product: that starts threads, which slow down other calls.
    sums = np.einsum("ijk,ijk->ij", one[:, :whole].reshape(rows), other[:, :whole].reshape(rows))
    rest = np.einsum("ij,ij->i", one[:, whole:], other[:, whole:], dtype=np.float64)
    found: Float64 = sums.sum(axis=1, dtype=np.float64) + rest
    return found


def _image(sums: Float64) -> tuple[float | None, float | None]:
    """Return correlation and width of sums of squares and products."""
    left, right, both, _ = sums.tolist()
    if max(left, right) < _SILENT:
        return None, None
    width = min(1.0, max(0.0, 0.5 - both / (left + right)))
    if min(left, right) < _SILENT:
        return None, width
    return min(1.0, max(-1.0, both / math.sqrt(left * right))), width
