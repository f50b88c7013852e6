"""PCM audio as AudioChunk messages: cuts audio into chunks, and checks received chunks."""

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
"""The largest data of a chunk to clients and to renderers: with its other fields the message is below 64 KiB."""
MESH_CHUNK_BYTES: Final = 262_144 - 128
"""The largest data of any other chunk: a message costs more than its bytes."""
SAMPLE_FORMATS: Final = {
    audio_pb2.SAMPLE_FORMAT_UNSPECIFIED: SampleFormat.F32LE,
    audio_pb2.SAMPLE_FORMAT_F32LE: SampleFormat.F32LE,
    audio_pb2.SAMPLE_FORMAT_S16LE: SampleFormat.S16LE,
    audio_pb2.SAMPLE_FORMAT_S24LE: SampleFormat.S24LE,
}


def crc32c(content: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of some bytes."""
    return int(google_crc32c.value(content))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


def frame_bytes(sound: audio_pb2.AudioFormat) -> int:
    """Return the size of one frame in bytes."""
    return SAMPLE_FORMATS[sound.sample_format].num_bytes * sound.channels


def chunk_frames(sound: audio_pb2.AudioFormat, most_bytes: int) -> int:
    """Return the number of whole frames that fit into a chunk."""
    return most_bytes // frame_bytes(sound)


def f32le(sample_rate: int, channels: int) -> audio_pb2.AudioChunk:
    """Return a template for `cut` in 32-bit float, the format of stored audio and of audio between roles."""
    sound = audio_pb2.AudioFormat(
        sample_rate=sample_rate, channels=channels, sample_format=audio_pb2.SAMPLE_FORMAT_F32LE
    )
    return audio_pb2.AudioChunk(format=sound)


def fill(template: audio_pb2.AudioChunk, content: bytes, first_frame: int) -> audio_pb2.AudioChunk:
    """Return a chunk with the fields of the template and this content of whole frames."""
    chunk = audio_pb2.AudioChunk()
    chunk.CopyFrom(template)
    chunk.first_frame = first_frame
    chunk.frames = len(content) // frame_bytes(template.format)
    chunk.data = content
    chunk.crc32c = crc32c(content)
    return chunk


def cut(
    content: bytes, template: audio_pb2.AudioChunk, first_frame: int = 0, *, most_bytes: int = CHUNK_BYTES
) -> Iterator[audio_pb2.AudioChunk]:
    """Cut PCM of whole frames into chunks with the fields of the template."""
    size = frame_bytes(template.format)
    step = chunk_frames(template.format, most_bytes) * size
    for start in range(0, len(content), step):
        yield fill(template, content[start : start + step], first_frame + start // size)


def samples_of(chunk: audio_pb2.AudioChunk, announced: audio_pb2.AudioFormat, where: str) -> Float32:
    """Decode a chunk; raise InvalidAudio when it has another format than announced, or is damaged."""
    wrong = ""
    if _format_of(chunk.format) != _format_of(announced):
        wrong = "its format is not the announced one"
    elif len(chunk.data) != chunk.frames * frame_bytes(announced):
        wrong = f"{len(chunk.data)} bytes are not {chunk.frames} frames of {frame_bytes(announced)} bytes"
    elif chunk.crc32c != crc32c(chunk.data):
        wrong = "its CRC-32C does not match: the bytes are damaged"
    if wrong:
        place = {"section_id": chunk.section_id, "frame": str(chunk.first_frame)}
        raise errors.InvalidAudio(f"{where}: frame {chunk.first_frame}: {wrong}", metadata=place)
    return decode_pcm(chunk.data, SAMPLE_FORMATS[announced.sample_format], announced.channels)


def _format_of(sound: audio_pb2.AudioFormat) -> tuple[int, int, SampleFormat]:
    return sound.sample_rate, sound.channels, SAMPLE_FORMATS[sound.sample_format]
