"""Conversion between PCM bytes and float32 blocks of shape (frames, channels), with dither by frame number."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from segue_audio.errors import InvalidSettings, NonFiniteAudio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segue_audio.arrays import Float32


_DITHER_GRID_FRAMES = 4096
"""Length of the cells that noise is generated in; the noise of a frame depends on its number only."""


class SampleFormat(Enum):
    """The format of one sample; the value is its size in bytes and whether it is a float."""

    F32LE = (4, True)
    S16LE = (2, False)
    S24LE = (3, False)

    @property
    def num_bytes(self) -> int:
        """Size of one sample."""
        return self.value[0]


def decode_pcm(payload: bytes | memoryview, sample_format: SampleFormat, channels: int) -> Float32:
    """Decode bytes of whole frames to a writable block."""
    if channels < 1:
        raise InvalidSettings(f"{channels} channels; the minimum is one")
    frame_bytes = sample_format.num_bytes * channels
    frames, rest = divmod(len(payload), frame_bytes)
    if rest:
        raise InvalidSettings(f"{len(payload)} bytes are not a whole number of {frame_bytes}-byte frames")
    if sample_format is SampleFormat.F32LE:
        return np.frombuffer(payload, dtype="<f4").astype(np.float32).reshape(frames, channels)
    if sample_format is SampleFormat.S16LE:
        samples = np.frombuffer(payload, dtype="<i2").astype(np.float32) / np.float32(1 << 15)
        return samples.reshape(frames, channels)
    wide = np.zeros((frames * channels, 4), dtype=np.uint8)
    wide[:, 1:] = np.frombuffer(payload, dtype=np.uint8).reshape(-1, 3)
    samples = (wide.view("<i4")[:, 0] >> 8).astype(np.float32) / np.float32(1 << 23)
    return samples.reshape(frames, channels)


def encode_pcm(block: Float32, sample_format: SampleFormat, *, first_frame: int = 0) -> bytes:
    """Encode a block to bytes; 16-bit samples get TPDF dither that depends only on the frame's number."""
    if sample_format is SampleFormat.F32LE:
        return np.ascontiguousarray(block, dtype="<f4").tobytes()
    if sample_format is SampleFormat.S16LE:
        return quantise(block, 16, first_frame=first_frame).astype("<i2").tobytes()
    return pack_24_bit(quantise(block, 24, first_frame=first_frame))


def interleaved(planar: Float32) -> Float32:
    """Convert (channels, frames) to (frames, channels), channel by channel, which is faster in numpy."""
    block = np.empty(planar.shape[::-1], np.float32)
    for index, channel in enumerate(planar):
        block[:, index] = channel
    return block


def mono_mean(block: Float32) -> Float32:
    """Return the mean of the channels of (frames, channels), which numpy adds faster channel by channel."""
    total = np.zeros(len(block), np.float32)
    for channel in block.T:
        total += channel
    total /= np.float32(block.shape[1])
    return total


def pack_24_bit(samples: NDArray[np.int32]) -> bytes:
    """Encode integers of 24 bits as three bytes each, little endian."""
    return np.ascontiguousarray(samples, dtype="<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


def quantise(block: Float32, bits: int, *, first_frame: int = 0) -> NDArray[np.int32]:
    """Round to integers of `bits` bits, clipped to full scale; dithered at 16 bits and below.

    A float32 has a mantissa of 24 bits, so rounding it to 24 bits needs no dither.
    """
    full_scale = 1 << (bits - 1)
    scaled = np.multiply(block, full_scale, dtype=np.float32)
    if bits <= 16:
        scaled += tpdf_noise(first_frame, *block.shape)
    np.rint(scaled, out=scaled)
    np.clip(scaled, -full_scale, full_scale - 1, out=scaled)
    return scaled.astype(np.int32)


def tpdf_noise(first_frame: int, frames: int, channels: int) -> Float32:
    """Return triangular noise of +-1 quantisation step; a frame's noise does not depend on block sizes."""
    pieces: list[Float32] = []
    position = first_frame
    end = first_frame + frames
    while position < end:
        cell, offset = divmod(position, _DITHER_GRID_FRAMES)
        take = min(end - position, _DITHER_GRID_FRAMES - offset)
        pieces.append(_noise_cell(cell, channels)[offset : offset + take])
        position += take
    return np.concatenate(pieces) if pieces else np.zeros((0, channels), dtype=np.float32)


def _noise_cell(cell: int, channels: int) -> Float32:
    """Generate the noise of one cell."""
    rng = np.random.Generator(np.random.SFC64(seed=(0x5E60E, cell, channels)))
    uniform = rng.random((2, _DITHER_GRID_FRAMES, channels), dtype=np.float32)
    noise: Float32 = uniform[0] - uniform[1]
    return noise


def check_finite(block: NDArray[np.floating[Any]], *, first_frame: int = 0) -> None:
    """Raise NonFiniteAudio with the first frame that has NaN or infinity."""
    # The sum is not finite if any sample is not (Inf - Inf is NaN); this needs no array of flags.
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(np.sum(block, dtype=np.float64)):
            return
    bad = np.argwhere(~np.isfinite(block))
    if len(bad):
        raise NonFiniteAudio(first_frame + int(bad[0][0]), int(bad[0][1]) if block.ndim > 1 else 0)
