"""Stored F32LE as the encoding that a watcher asks for.

16 bit is dithered (TPDF) with noise that depends on the frame's place only: a stream that was resumed has the same
bytes as one that was not.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from segue.audio.v1 import audio_pb2

if TYPE_CHECKING:
    from numpy.typing import NDArray

BYTES_PER_SAMPLE: Final = {
    audio_pb2.SAMPLE_FORMAT_F32LE: 4,
    audio_pb2.SAMPLE_FORMAT_S16LE: 2,
    audio_pb2.SAMPLE_FORMAT_S24LE: 3,
}
# A prime number of samples, so that the noise has no rhythm that meets the music's.
NOISE_SAMPLES: Final = 131_071
NOISE_SEED: Final = 1770


def encode(audio: bytes, encoding: audio_pb2.SampleFormat.ValueType, first_frame: int, channels: int) -> bytes:
    """Return F32LE sound in another encoding; what is beyond full scale is held at full scale."""
    if encoding == audio_pb2.SAMPLE_FORMAT_F32LE:
        return audio
    samples = np.frombuffer(audio, np.float32).astype(np.float64)
    if encoding == audio_pb2.SAMPLE_FORMAT_S16LE:
        places = (first_frame * channels + np.arange(samples.size)) % NOISE_SAMPLES
        scaled = np.rint(samples * 32768.0 + _noise()[places])
        return np.clip(scaled, -32768, 32767).astype("<i2").tobytes()
    scaled = np.clip(np.rint(samples * 8388608.0), -8388608, 8388607).astype("<i4")
    return scaled.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


@cache
def _noise() -> NDArray[np.float64]:
    generator = np.random.default_rng(NOISE_SEED)
    return generator.random(NOISE_SAMPLES) - generator.random(NOISE_SAMPLES)
