"""Streaming sample-rate conversion with an exact length; the bytes do not depend on block sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soxr

from segue_audio.errors import InvalidSettings

if TYPE_CHECKING:
    from segue_audio.arrays import Float32

MIN_RATE = 4_000
MAX_RATE = 384_000
_FLUSH_SECONDS = 0.05
"""Silence added at the end to flush the filter; its own output is cut off."""


def resampled_frames(frames: int, rate_from: int, rate_to: int) -> int:
    """Return the number of frames after conversion, rounded half up."""
    return (2 * frames * rate_to + rate_from) // (2 * rate_from)


class StreamResampler:
    """Converts one stream; `push` and `finish` together return exactly `resampled_frames`."""

    def __init__(self, rate_from: int, rate_to: int, channels: int, *, quality: str = "VHQ") -> None:
        for rate in (rate_from, rate_to):
            if not MIN_RATE <= rate <= MAX_RATE:
                raise InvalidSettings(f"a sample rate of {rate} Hz; {MIN_RATE} to {MAX_RATE} can be converted")
        self.rate_from = rate_from
        self.rate_to = rate_to
        self._channels = channels
        self._frames_in = 0
        self._frames_out = 0
        self._stream = None
        if rate_from != rate_to:
            self._stream = soxr.ResampleStream(rate_from, rate_to, channels, dtype="float32", quality=quality)

    def push(self, block: Float32) -> Float32:
        """Add frames and return the converted frames that are ready."""
        self._frames_in += len(block)
        if self._stream is None:
            return block
        ready: Float32 = self._stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32))
        return self._within_length(ready)

    def finish(self) -> Float32:
        """End the stream and return its last frames."""
        if self._stream is None:
            return np.zeros((0, self._channels), dtype=np.float32)
        silence = np.zeros((int(self.rate_from * _FLUSH_SECONDS) + 1, self._channels), dtype=np.float32)
        rest: Float32 = self._stream.resample_chunk(silence, last=True)
        return self._within_length(rest)

    def _within_length(self, ready: Float32) -> Float32:
        space = resampled_frames(self._frames_in, self.rate_from, self.rate_to) - self._frames_out
        kept = ready[:space]
        self._frames_out += len(kept)
        return kept


def resample(block: Float32, rate_from: int, rate_to: int) -> Float32:
    """Convert a whole block; the result equals that of a stream."""
    stream = StreamResampler(rate_from, rate_to, block.shape[1])
    return np.concatenate([stream.push(block), stream.finish()])
