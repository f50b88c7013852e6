"""Short-time spectra of a stream on a fixed grid; they do not depend on block sizes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from segue_audio.scipy_parts import load_alone

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from segue_audio.arrays import Float32, Float64


_FRAMES_A_BATCH = 128
"""Spectra per batch; it bounds memory."""
_LEAST_BATCH = 16
"""Fewer spectra wait for more: a transform of many rows at once takes a third of the time."""


class SpectrumStream:
    """Computes magnitude spectra of windowed frames of a mono stream; frame t is centred on sample t * hop."""

    def __init__(self, size: int, hop: int) -> None:
        self.size = size
        self.hop = hop
        window = np.hanning(size + 1)[:-1]
        # A sine of full scale at a bin's centre has magnitude 1.
        self._window: NDArray[Any] = (window * 2 / window.sum()).astype(np.float32)
        self._waiting = np.zeros(size // 2, dtype=np.float32)
        self._samples = 0
        self._frames = 0

    def push(self, mono: Float32) -> list[Float32]:
        """Add samples; returns batches of magnitudes of shape (frames, size / 2 + 1)."""
        self._samples += len(mono)
        self._waiting = np.concatenate([self._waiting, mono])
        return self._ready()

    def finish(self) -> list[Float32]:
        """Return the frames whose centres lie within the stream and whose windows reach beyond it."""
        due = -(-self._samples // self.hop) - self._frames
        missing = (due - 1) * self.hop + self.size - len(self._waiting)
        if due <= 0:
            return []
        self._waiting = np.concatenate([self._waiting, np.zeros(max(0, missing), dtype=np.float32)])
        return self._ready(due)

    def _ready(self, limit: int | None = None) -> list[Float32]:
        count = max(0, (len(self._waiting) - self.size) // self.hop + 1)
        if limit is None and count < _LEAST_BATCH:
            return []
        count = count if limit is None else min(count, limit)
        found: list[Float32] = []
        for start in range(0, count, _FRAMES_A_BATCH):
            stop = min(count, start + _FRAMES_A_BATCH)
            piece = self._waiting[start * self.hop : (stop - 1) * self.hop + self.size]
            # The plain constructor makes the same view as sliding_window_view, in a twentieth of the time.
            step = piece.itemsize
            frames = np.ndarray((stop - start, self.size), np.float32, piece, strides=(self.hop * step, step))
            found.append(np.abs(_transform()(frames * self._window)))
        self._waiting = self._waiting[count * self.hop :].copy()
        self._frames += count
        return found


@functools.cache
def _transform() -> Callable[[Float32], NDArray[np.complex64]]:
    """Return the real Fourier transform of rows: SciPy's, which takes several rows at once, or numpy's."""
    module = load_alone("scipy.fft._pocketfft.pypocketfft")

    def through_scipy(rows: Float32) -> NDArray[np.complex64]:
        spectra: NDArray[np.complex64] = module.r2c(rows, [1])  # type: ignore[union-attr]  # a failure is caught below
        return spectra

    try:
        # One row checks that its arguments have not changed.
        known = through_scipy(np.array([[1, 2, 3, 4]], dtype=np.float32))
    except (AttributeError, TypeError, ValueError):
        return _through_numpy
    return through_scipy if np.allclose(known, [[10, -2 + 2j, -2]]) else _through_numpy


def _through_numpy(rows: Float32) -> NDArray[np.complex64]:
    return np.fft.rfft(rows, axis=1).astype(np.complex64)


class PowerSpectrum:
    """The mean power of the bins of a stream of spectra, whose windows are those of `SpectrumStream`."""

    def __init__(self, rate: float, size: int) -> None:
        self._bin_hz = rate / size
        self._sums: Float64 = np.zeros(size // 2 + 1)
        self._count = 0

    def push(self, magnitudes: Float32) -> None:
        """Add spectra, (frames, bins)."""
        self._sums += np.einsum("ij,ij->j", magnitudes, magnitudes)
        self._count += len(magnitudes)

    def between(self, low_hz: float, high_hz: float) -> float:
        """Return the mean power between two frequencies."""
        edges = np.clip(np.array([low_hz, high_hz]) / self._bin_hz + 0.5, 0, len(self._sums))
        sums = np.concatenate([[0.0], np.cumsum(self._sums)])
        low, high = np.interp(edges, np.arange(len(sums)), sums).tolist()
        # A Hann window spreads the power of a sine over bins with sum 1.5.
        return float(high - low) / 3.0 / max(1, self._count)


class GrowingRows:
    """Rows that grow batch by batch and are read as one array at the end."""

    def __init__(self, columns: int, kind: type[np.floating[Any]] = np.float32) -> None:
        self._columns = columns
        self._kind = kind
        self._values = bytearray()

    def extend(self, rows: NDArray[np.floating[Any]]) -> None:
        """Append rows of shape (n, columns)."""
        self._values += rows.astype(self._kind).tobytes()

    def latest(self, count: int) -> NDArray[Any]:
        """Return a copy of the last rows, so that others can be appended."""
        first = len(self._values) - count * self._columns * np.dtype(self._kind).itemsize
        return np.frombuffer(bytes(self._values[max(0, first) :]), dtype=self._kind).reshape(-1, self._columns)

    def rows(self) -> NDArray[Any]:
        """Return all rows without a copy; while the array lives, no rows can be appended."""
        return np.frombuffer(self._values, dtype=self._kind).reshape(-1, self._columns)
