"""PCM audio as AudioChunk messages: how audio is cut into chunks, and how a received chunk is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import google_crc32c

from segue.audio.v1 import audio_pb2
from segue_audio.pcm import SampleFormat, decode_pcm
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_audio.arrays import Float32

CHUNK_BYTES: Final = 65_536 - 128
"""A chunk's data leaves room for the rest of a message of 64 KiB."""
SAMPLE_FORMATS: Final = {
    audio_pb2.SAMPLE_FORMAT_UNSPECIFIED: SampleFormat.F32LE,
    audio_pb2.SAMPLE_FORMAT_F32LE: SampleFormat.F32LE,
    audio_pb2.SAMPLE_FORMAT_S16LE: SampleFormat.S16LE,
    audio_pb2.SAMPLE_FORMAT_S24LE: SampleFormat.S24LE,
}


def crc32c(content: bytes) -> int:
    """Return the Castagnoli checksum."""
    return int(google_crc32c.value(content))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


def frame_bytes(sound: audio_pb2.AudioFormat) -> int:
    """Return the size of one frame."""
    return SAMPLE_FORMATS[sound.sample_format].num_bytes * sound.channels


def chunk_frames(sound: audio_pb2.AudioFormat) -> int:
    """Return how many whole frames fit into a chunk."""
    return CHUNK_BYTES // frame_bytes(sound)


def f32le(sample_rate: int, channels: int) -> audio_pb2.AudioChunk:
    """Return a template for `cut` in the format in which audio is stored and sent between roles."""
    sound = audio_pb2.AudioFormat(
        sample_rate=sample_rate, channels=channels, sample_format=audio_pb2.SAMPLE_FORMAT_F32LE
    )
    return audio_pb2.AudioChunk(format=sound)


def fill(template: audio_pb2.AudioChunk, content: bytes, first_frame: int) -> audio_pb2.AudioChunk:
    """Return a chunk with the template's fields and this content, which must be whole frames."""
    chunk = audio_pb2.AudioChunk()
    chunk.CopyFrom(template)
    chunk.first_frame = first_frame
    chunk.frames = len(content) // frame_bytes(template.format)
    chunk.data = content
    chunk.crc32c = crc32c(content)
    return chunk


def cut(content: bytes, template: audio_pb2.AudioChunk, first_frame: int = 0) -> Iterator[audio_pb2.AudioChunk]:
    """Cut PCM of whole frames into chunks with the template's fields."""
    size = frame_bytes(template.format)
    step = chunk_frames(template.format) * size
    for start in range(0, len(content), step):
        yield fill(template, content[start : start + step], first_frame + start // size)


def samples_of(chunk: audio_pb2.AudioChunk, announced: audio_pb2.AudioFormat, where: str) -> Float32:
    """Read a chunk; raise InvalidAudio when it is not what was announced, or not what was sent."""
    wrong = ""
    if _settled(chunk.format) != _settled(announced):
        wrong = "it has another format than was announced"
    elif len(chunk.data) != chunk.frames * frame_bytes(announced):
        wrong = f"{len(chunk.data)} bytes are not {chunk.frames} frames of {frame_bytes(announced)} bytes"
    elif chunk.crc32c != crc32c(chunk.data):
        wrong = "the bytes were damaged on the way (crc32c)"
    if wrong:
        place = {"section_id": chunk.section_id, "frame": str(chunk.first_frame)}
        raise errors.InvalidAudio(f"{where}: frame {chunk.first_frame}: {wrong}", metadata=place)
    return decode_pcm(chunk.data, SAMPLE_FORMATS[announced.sample_format], announced.channels)


def _settled(sound: audio_pb2.AudioFormat) -> tuple[int, int, SampleFormat]:
    return sound.sample_rate, sound.channels, SAMPLE_FORMATS[sound.sample_format]
