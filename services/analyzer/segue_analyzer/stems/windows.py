"""Stems by a network that knows windows of one length: they overlap, and blend into each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from segue_audio.resample import StreamResampler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_audio.arrays import Float32

OVERLAP: Final = 4
"""One window's start overlaps with this part of the one before it."""


class StemNetwork(Protocol):
    """A network that separates stereo windows."""

    sample_rate: int
    window_frames: int
    num_stems: int

    def separate(self, window: Float32) -> Float32:
        """Return the stems of a window of shape (2, window_frames), of shape (stems, 2, window_frames)."""
        ...


class WindowStream:
    """The estimates of a stereo recording at the network's rate, in constant memory."""

    def __init__(self, network: StemNetwork) -> None:
        self._network = network
        self._size = network.window_frames
        self._step = self._size - self._size // OVERLAP
        # Windows count least at their ends, where the network knows one side only.
        rising = np.arange(1, self._size + 1, dtype=np.float32)
        self._weight = np.minimum(rising, rising[::-1])
        self._waiting = np.zeros((2, 0), dtype=np.float32)
        self._sum = np.zeros((network.num_stems, 2, self._size), dtype=np.float32)
        self._weights = np.zeros(self._size, dtype=np.float32)

    def push(self, stereo: Float32) -> Float32:
        """Add frames of shape (2, frames); return what is ready, of shape (stems, 2, frames)."""
        self._waiting = np.concatenate([self._waiting, stereo], axis=1)
        parts = [np.zeros((self._network.num_stems, 2, 0), dtype=np.float32)]
        while self._waiting.shape[1] >= self._size:
            parts.append(self._separate(self._waiting[:, : self._size], self._step))
            self._waiting = self._waiting[:, self._step :].copy()
        return np.concatenate(parts, axis=2)

    def finish(self) -> Float32:
        """Return the last frames: those that wait, and those that the last window left."""
        frames = self._waiting.shape[1]
        if not frames:
            return np.zeros((self._network.num_stems, 2, 0), dtype=np.float32)
        padded = np.pad(self._waiting, ((0, 0), (0, self._size - frames)))
        self._waiting = self._waiting[:, :0]
        return self._separate(padded, frames)

    def _separate(self, window: Float32, ready: int) -> Float32:
        """Blend a window with those before it; return its first `ready` frames, which no later one changes."""
        self._sum += self._network.separate(window) * self._weight
        self._weights += self._weight
        done = self._sum[:, :, :ready].copy()
        done /= np.maximum(self._weights[:ready], np.float32(1))
        self._sum = _shifted(self._sum, ready)
        self._weights = _shifted(self._weights, ready)
        return done


class ResampledWindows:
    """The estimates of some of a network's stems, for any rate and number of channels.

    Channels go through the network in pairs; one without a partner goes through both, as mono does.
    """

    def __init__(self, network: StemNetwork, kept: Sequence[int], sample_rate: int, channels: int) -> None:
        self._kept = list(kept)
        self._channels = channels
        self._pairs = [
            _Pair(network, self._kept, sample_rate, is_mono=first + 1 == channels) for first in range(0, channels, 2)
        ]

    def push(self, block: Float32) -> Float32:
        """Add frames of shape (frames, channels); return those that are ready, of shape (stems, frames, channels)."""
        return self._joined([pair.push(block[:, 2 * at : 2 * at + 2]) for at, pair in enumerate(self._pairs)])

    def finish(self) -> Float32:
        """End the recording and return the last frames."""
        return self._joined([pair.finish() for pair in self._pairs])

    @staticmethod
    def _joined(pairs: Sequence[Float32]) -> Float32:
        return np.concatenate(pairs, axis=2)


class _Pair:
    def __init__(self, network: StemNetwork, kept: list[int], sample_rate: int, *, is_mono: bool) -> None:
        self._kept = kept
        self._width = 1 if is_mono else 2
        self._windows = WindowStream(network)
        self._to_network = StreamResampler(sample_rate, network.sample_rate, self._width)
        self._from_network = StreamResampler(network.sample_rate, sample_rate, self._width * len(kept))

    def push(self, block: Float32) -> Float32:
        return self._shaped(self._from_network.push(self._estimate(self._to_network.push(block))))

    def finish(self) -> Float32:
        last = np.concatenate([self._estimate(self._to_network.finish()), self._columns(self._windows.finish())])
        return self._shaped(np.concatenate([self._from_network.push(last), self._from_network.finish()]))

    def _estimate(self, block: Float32) -> Float32:
        stereo = np.repeat(block.T, 2, axis=0) if self._width == 1 else block.T
        return self._columns(self._windows.push(np.ascontiguousarray(stereo)))

    def _columns(self, stems: Float32) -> Float32:
        """Return the kept stems side by side, as the resampler needs them: a column for each channel of each stem."""
        kept = stems[self._kept]
        if self._width == 1:
            kept = kept.mean(axis=1, keepdims=True)
        return np.ascontiguousarray(kept.reshape(self._width * len(self._kept), kept.shape[2]).T)

    def _shaped(self, columns: Float32) -> Float32:
        return columns.reshape(len(columns), len(self._kept), self._width).transpose(1, 0, 2)


def _shifted(values: Float32, by: int) -> Float32:
    """Return an array without its first `by` columns, with zeros at its end."""
    moved = np.zeros_like(values)
    moved[..., : values.shape[-1] - by] = values[..., by:]
    return moved
