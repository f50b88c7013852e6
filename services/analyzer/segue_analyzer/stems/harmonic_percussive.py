"""Harmonic and percussive stems by medians of the spectrogram (Fitzgerald 2010), with soft masks, while audio streams.

A tone is a ridge along time, an attack one along frequency: the median along each keeps the one and drops the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from segue_analyzer.stems.medians import median, median_network
from segue_analyzer.stems.separator import SeparatorInfo, SeparatorKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segue_audio.arrays import Float32

    Spectra = NDArray[np.complexfloating[Any, Any]]

WINDOW_S: Final = 0.093
"""4096 frames at 44 100 Hz: long enough to tell low tones apart."""
OVERLAP: Final = 4
"""Windows that cover each frame."""
MEDIAN: Final = 17
"""Windows along time (0.4 s), and bins along frequency (180 Hz), of which the median is taken."""
REACH: Final = MEDIAN // 2
BATCH: Final = 32
"""Windows that are worked on at once; it bounds memory."""
CACHED_ROWS: Final = 8
"""Rows of a median that are worked on at once: they stay in the processor's cache."""
NAME: Final = "median-17"
TINY: Final = np.float32(1e-12)


class HarmonicPercussive:
    """Separates what lasts from attacks. It needs no weights."""

    info: Final = SeparatorInfo(
        SeparatorKind.HARMONIC_PERCUSSIVE, NAME, stems=("harmonic", "percussive"), rest="harmonic"
    )

    def estimates(self, sample_rate: int, channels: int) -> PercussiveStream:
        """Begin a recording."""
        return PercussiveStream(sample_rate, channels)


class PercussiveStream:
    """The percussive stem of one recording. All channels have one mask, so that sounds stay where they are."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._size = max(256, 1 << round(np.log2(WINDOW_S * sample_rate)))
        self._hop = self._size // OVERLAP
        self._channels = channels
        window = np.sqrt(np.hanning(self._size + 1)[:-1])
        self._window: Float32 = window.astype(np.float32)
        self._network = median_network(MEDIAN)
        # The first window ends with the first hop of the recording.
        self._waiting = np.zeros((self._size - self._hop, channels), dtype=np.float32)
        self._spectra = np.zeros((0, channels, self._size // 2 + 1), dtype=np.complex64)
        """The spectra whose masks are not known yet; the first REACH ones are done, and needed for medians only."""
        self._magnitudes = np.zeros((0, self._size // 2 + 1), dtype=np.float32)
        """Theirs, summed over the channels."""
        self._tail = np.zeros((self._size, channels), dtype=np.float32)
        """What windows that overlap with the next ones have added."""
        self._frames_in = 0
        self._frames_out = self._hop - self._size
        """The frames returned; below 0 they lie before the recording."""

    def push(self, block: Float32) -> Float32:
        """Add frames and return the percussive ones that are ready."""
        self._frames_in += len(block)
        self._waiting = np.concatenate([self._waiting, block])
        return self._ready()

    def finish(self) -> Float32:
        """End the recording and return the last frames."""
        hops = -(-len(self._waiting) // self._hop) + OVERLAP
        silence = np.zeros((hops * self._hop - len(self._waiting) + self._size, self._channels), dtype=np.float32)
        self._waiting = np.concatenate([self._waiting, silence])
        parts = [self._ready()[0]]
        if len(self._magnitudes):
            # The last medians look beyond the end, as the first ones look before the start.
            last = np.repeat(self._magnitudes[-1:], REACH, axis=0)
            parts.append(self._mask_and_add(np.concatenate([self._magnitudes, last])))
        ready = np.concatenate(parts)
        surplus = self._frames_out - self._frames_in
        return ready[None, : len(ready) - max(0, surplus)]

    def _ready(self) -> Float32:
        parts = [np.zeros((0, self._channels), dtype=np.float32)]
        while (count := min(BATCH, (len(self._waiting) - self._size) // self._hop + 1)) > 0:
            self._add_spectra(count)
            parts.append(self._mask_and_add(self._magnitudes))
        return np.concatenate(parts)[None]

    def _add_spectra(self, count: int) -> None:
        piece = self._waiting[: (count - 1) * self._hop + self._size]
        windows = np.lib.stride_tricks.sliding_window_view(piece, self._size, axis=0)[:: self._hop]
        spectra = np.fft.rfft(windows * self._window, axis=-1).astype(np.complex64)
        magnitudes = np.abs(spectra).sum(axis=1)
        if not len(self._magnitudes):
            first = np.repeat(magnitudes[:1], REACH, axis=0)
            self._magnitudes = first
            self._spectra = np.zeros((REACH, *spectra.shape[1:]), dtype=np.complex64)
        self._magnitudes = np.concatenate([self._magnitudes, magnitudes])
        self._spectra = np.concatenate([self._spectra, spectra])
        self._waiting = self._waiting[count * self._hop :].copy()

    def _mask_and_add(self, magnitudes: Float32) -> Float32:
        """Return the frames of the windows whose neighbours are all in `magnitudes`."""
        count = len(magnitudes) - 2 * REACH
        if count <= 0:
            return np.zeros((0, self._channels), dtype=np.float32)
        masks = np.concatenate(
            [
                self._masks(magnitudes[start : min(start + CACHED_ROWS, count) + 2 * REACH])
                for start in range(0, count, CACHED_ROWS)
            ]
        )
        percussive = self._spectra[REACH : REACH + count] * masks[:, None]
        self._spectra, self._magnitudes = self._spectra[count:].copy(), self._magnitudes[count:].copy()
        windows = np.fft.irfft(percussive, self._size, axis=-1).astype(np.float32) * self._window
        summed = np.zeros((count * self._hop + self._size, self._channels), dtype=np.float32)
        summed[: self._size] = self._tail
        for index, window in enumerate(windows):
            first = index * self._hop
            summed[first : first + self._size] += window.T
        self._tail = summed[count * self._hop :]
        # The squared windows add up to half of their number.
        ready = summed[: count * self._hop] * np.float32(2 / OVERLAP)
        before = max(0, min(len(ready), -self._frames_out))
        self._frames_out += len(ready)
        return ready[before:]

    def _masks(self, magnitudes: Float32) -> Float32:
        """Return the masks of all rows but the first and last REACH ones."""
        count = len(magnitudes) - 2 * REACH
        lasting = median([magnitudes[at : at + count] for at in range(MEDIAN)], self._network)
        present = magnitudes[REACH : REACH + count]
        padded = np.pad(present, ((0, 0), (REACH, REACH)), mode="edge")
        sudden = median([padded[:, at : at + present.shape[1]] for at in range(MEDIAN)], self._network)
        sudden, lasting = sudden * sudden, lasting * lasting
        mask: Float32 = sudden / (sudden + lasting + TINY)
        return mask
