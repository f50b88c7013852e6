"""Short-time spectra of a stream on a fixed grid; they do not depend on block sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segue_audio.arrays import Float32


_FRAMES_A_BATCH = 128
"""Spectra per batch; it bounds memory."""


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
        count = count if limit is None else min(count, limit)
        found: list[Float32] = []
        for start in range(0, count, _FRAMES_A_BATCH):
            stop = min(count, start + _FRAMES_A_BATCH)
            piece = self._waiting[start * self.hop : (stop - 1) * self.hop + self.size]
            frames = np.lib.stride_tricks.sliding_window_view(piece, self.size)[:: self.hop]
            found.append(np.abs(np.fft.rfft(frames * self._window, axis=1)).astype(np.float32))
        self._waiting = self._waiting[count * self.hop :].copy()
        self._frames += count
        return found


class GrowingRows:
    """Rows that grow batch by batch and are read as one array at the end."""

    def __init__(self, columns: int, kind: type[np.floating[Any]] = np.float32) -> None:
        self._columns = columns
        self._kind = kind
        self._values = bytearray()

    def extend(self, rows: NDArray[np.floating[Any]]) -> None:
        """Append rows of shape (n, columns)."""
        self._values += rows.astype(self._kind).tobytes()

    def rows(self) -> NDArray[Any]:
        """Return all rows without a copy; while the array lives, no rows can be appended."""
        return np.frombuffer(self._values, dtype=self._kind).reshape(-1, self._columns)
