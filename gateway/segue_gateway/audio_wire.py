"""PCM bytes as chunks of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue.audio.v1 import audio_pb2
from segue_runtime.chunks import CHUNK_BYTES, crc32c

if TYPE_CHECKING:
    from collections.abc import Iterator


def chunk_frames(channels: int) -> int:
    """Return how many whole frames of F32LE fit into a chunk."""
    return CHUNK_BYTES // (channels * 4)


def chunk(data: bytes, sample_rate: int, channels: int, first_frame: int = 0) -> Iterator[audio_pb2.AudioChunk]:
    """Cut F32LE PCM of whole frames into chunks."""
    frame_bytes = channels * 4
    step = chunk_frames(channels) * frame_bytes
    for start in range(0, len(data), step):
        piece = data[start : start + step]
        yield audio_pb2.AudioChunk(
            format=audio_pb2.AudioFormat(
                sample_rate=sample_rate, channels=channels, sample_format=audio_pb2.SAMPLE_FORMAT_F32LE
            ),
            first_frame=first_frame + start // frame_bytes,
            frames=len(piece) // frame_bytes,
            data=piece,
            crc32c=crc32c(piece),
        )
