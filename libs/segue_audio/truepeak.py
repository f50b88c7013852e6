"""True peak after ITU-R BS.1770-4 Annex 2: the signal between the samples, by polyphase interpolation."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segue_audio.arrays import Float32, Index

TAPS = 32
"""Samples in one interpolation; half of them lie before the value."""

_MOST_OF_BEND = 0.46
_MOST_OF_SAMPLE = 1.001
"""Upper bounds of a value between two samples: so much of the higher one, and so much of the largest bend (second
difference) among the samples in its interpolation. The first is the sum of the absolute values of the taps, less those
of linear interpolation, after they are summed twice."""

_ROW = 64
"""Frames per row of the matrix product."""


@lru_cache(maxsize=8)
def _interpolator(factor: int, taps: int) -> Float32:
    """Return the matrix from a column of _ROW + taps - 1 samples to the (factor - 1) * _ROW values between them.

    The kernel is a Kaiser-windowed sinc; it is flat within 0.01 dB up to 0.44 of the sampling rate with 32 taps, and up
    to 0.48 with 128.
    """
    beta = 7.0 if taps <= TAPS else 9.0
    matrix = np.zeros((_ROW + taps - 1, factor - 1, _ROW))
    position = np.arange(taps) - (taps // 2 - 1)
    for phase in range(1, factor):
        offset = position - phase / factor
        window = np.i0(beta * np.sqrt(np.maximum(0.0, 1 - (offset / (taps / 2)) ** 2))) / np.i0(beta)
        weights = np.sinc(offset) * window
        weights /= weights.sum()
        for frame in range(_ROW):
            matrix[frame : frame + taps, phase - 1, frame] = weights
    return np.ascontiguousarray(matrix.reshape(_ROW + taps - 1, -1).T, dtype=np.float32)


def interpolated_peaks(
    padded: Float32, factor: int, span: int, *, taps: int = TAPS, above: float = 0.0, least: float = 0.0
) -> Float32:
    """Return the highest absolute value of each span of frames, over all channels, between the samples too.

    `padded` is (channels, frames + taps) with taps / 2 frames of context on both sides; the number of frames is a
    multiple of `_ROW`, and `span` is a power of two. Rows without a sample above `above` in or next to them are not
    interpolated; nor are, with `TAPS` taps, rows that cannot hold a value above `least`.
    """
    frames = padded.shape[1] - taps
    rows, half = frames // _ROW, taps // 2
    cell = min(span, _ROW)
    matrix = _interpolator(factor, taps)
    peaks = np.zeros((rows, _ROW // cell), dtype=np.float32)
    for channel in padded:
        samples = np.abs(channel)
        of_samples = _highest_of(samples[half : half + frames], cell).reshape(peaks.shape)
        np.maximum(peaks, of_samples, out=peaks)
        first = channel[1:]
        windows = np.ndarray(
            (rows, _ROW + taps - 1), np.float32, first, strides=(_ROW * first.itemsize, first.itemsize)
        )
        if least > 0 and taps == TAPS:
            wanted = _rows_exceeding(channel, of_samples.max(axis=1), least)
        elif above > 0:
            wanted = _rows_above(samples, rows, taps, above)
        else:
            wanted = np.arange(rows, dtype=np.intp)
        if not len(wanted):
            continue
        # With rows side by side the maximum of a cell is taken over whole lines.
        between = matrix @ (np.ascontiguousarray(windows) if len(wanted) == rows else windows[wanted]).T
        np.abs(between, out=between)
        highest = between.reshape(factor - 1, _ROW // cell, cell, len(wanted)).max(axis=(0, 2)).T
        if len(wanted) == rows:
            np.maximum(peaks, highest, out=peaks)
        else:
            peaks[wanted] = np.maximum(peaks[wanted], highest)
    return _highest_of(peaks.reshape(-1), span // cell)


def _highest_of(values: Float32, width: int) -> Float32:
    """Return the highest of each `width` neighbours; reduceat takes half the time of a maximum over an axis."""
    return np.maximum.reduceat(values, np.arange(0, len(values), width)) if width > 1 and len(values) else values


def _rows_above(samples: Float32, rows: int, taps: int, above: float) -> Index:
    """Return the rows with a sample above `above` in them or within _ROW / 2 of them."""
    first = taps // 2 - _ROW // 2
    return np.flatnonzero(_highest_around(samples[max(0, first) :], rows, max(0, -first)) > above)


def _rows_exceeding(channel: Float32, highest: Float32, least: float) -> Index:
    """Return the rows that may hold a value above `least`: `highest` are the highest samples of the rows."""
    half, rows = TAPS // 2, len(highest)
    step = channel[1:] - channel[:-1]
    bend: Float32 = np.abs(step[1:] - step[:-1])
    # The last value of a row lies before the first sample of the next one.
    highest = np.maximum(highest, np.abs(channel[half + _ROW :: _ROW][:rows]))
    around = _highest_around(bend, rows, _ROW // 2 - half + 1)
    return np.flatnonzero(_MOST_OF_SAMPLE * highest + _MOST_OF_BEND * around > least)


def _highest_around(values: Float32, rows: int, first: int) -> Float32:
    """Return the highest value in each row and half a row on both sides; `values` begin at `first` of all these."""
    starts = np.maximum(np.arange(2 * (rows + 1)) * (_ROW // 2) - first, 0)
    halves = np.maximum.reduceat(values[: (rows + 1) * _ROW - first], starts)
    return np.maximum(np.maximum(halves[:-3:2], halves[1:-2:2]), np.maximum(halves[2:-1:2], halves[3::2]))


def oversampling(sample_rate: int) -> int:
    """Return the factor for a meter: at least four times, and at least 192 kHz, as Annex 2 requires."""
    return 4 if sample_rate <= 96_000 else 2


class TruePeakMeter:
    """Measures the highest true peak and sample peak of a stream; they do not depend on block sizes."""

    def __init__(self, sample_rate: int, channels: int, *, block_frames: int = 8_192) -> None:
        self._factor = oversampling(sample_rate)
        self._block_frames = block_frames
        # The audio begins after silence.
        self._buffer = np.zeros((channels, TAPS + block_frames), dtype=np.float32)
        self._filled = TAPS // 2
        self._highest = 0.0
        self._sample_peak = 0.0

    def push(self, planar: NDArray[np.floating]) -> None:
        """Add samples of shape (channels, frames)."""
        position = 0
        while position < planar.shape[1]:
            take = min(self._buffer.shape[1] - self._filled, planar.shape[1] - position)
            self._buffer[:, self._filled : self._filled + take] = planar[:, position : position + take]
            self._filled += take
            position += take
            if self._filled == self._buffer.shape[1]:
                self._measure()
                self._buffer[:, :TAPS] = self._buffer[:, -TAPS:]
                self._filled = TAPS

    def peaks(self) -> tuple[float, float]:
        """Give (true peak, sample peak) as absolute values, as if the stream ended here."""
        kept, filled = self._buffer.copy(), self._filled
        highest, sample_peak = self._highest, self._sample_peak
        self._buffer[:, filled:] = 0.0
        self._measure()
        result = (self._highest, self._sample_peak)
        self._buffer, self._highest, self._sample_peak = kept, highest, sample_peak
        return result

    def _measure(self) -> None:
        sample_peak = float(np.abs(self._buffer).max())
        self._sample_peak = max(self._sample_peak, sample_peak)
        peaks = interpolated_peaks(self._buffer, self._factor, _ROW, least=self._highest)
        self._highest = max(self._highest, float(peaks.max()))
