"""PCM bytes as chunks of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import google_crc32c

from segue.audio.v1 import audio_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES: Final = 65_536 - 128
"""A chunk's data leaves room for the rest of a message of 64 KiB."""


def crc32c(data: bytes) -> int:
    """Return the Castagnoli checksum."""
    return int(google_crc32c.value(data))


def chunk_frames(channels: int, bytes_per_sample: int = 4) -> int:
    """Return how many whole frames fit into a chunk."""
    return CHUNK_BYTES // (channels * bytes_per_sample)


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
