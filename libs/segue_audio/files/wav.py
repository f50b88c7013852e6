"""WAV files: RF64 above 4 GiB, cue points with labels, tempo, tags."""

from __future__ import annotations

import struct
from typing import IO, TYPE_CHECKING

import numpy as np

from segue_audio.errors import UnreadableAudio
from segue_audio.files.id3 import pack_id3, unpack_id3
from segue_audio.files.provenance import pack_xmp, unpack_xmp
from segue_audio.pcm import SampleFormat, encode_pcm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from segue_audio.arrays import Float32
    from segue_audio.files.settings import AudioFileSettings, Cue

_LARGEST_RIFF = 0xFFFF_FFFF
_FORMATS = {16: SampleFormat.S16LE, 24: SampleFormat.S24LE, 32: SampleFormat.F32LE}
_INFORMATION = {
    "TITLE": b"INAM",
    "COMMENT": b"ICMT",
    "GENRE": b"IGNR",
    "LICENSE": b"ICOP",
    "ENCODER": b"ISFT",
    "BPM": b"IBPM",
    "INITIALKEY": b"IKEY",
    "SEED": b"ISED",
    "LOUDNESS_INTEGRATED": b"ILUF",
    "LOUDNESS_TRUE_PEAK": b"ITPK",
    "REPLAYGAIN_TRACK_GAIN": b"IRGG",
    "REPLAYGAIN_TRACK_PEAK": b"IRGP",
}
"""Tags of RIFF, and similar names for others: ffmpeg shows no ID3 tags of a file with a `bext` chunk."""
_XMP_CHUNK = b"_PMX"
"""The chunk of an XMP packet (XMP specification, part 3)."""
_SPEAKERS = {3: 0x07, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x13F, 8: 0x63F}
_LARGEST_TAGS = 64 << 20
_MOST_CHUNKS = 10_000


class WavEncoder:
    """Writes samples; `finish` adds sizes, cue points and tags."""

    def __init__(self, path: Path, settings: AudioFileSettings, *, rf64_above_bytes: int = _LARGEST_RIFF) -> None:
        self._settings = settings
        self._format = _FORMATS[settings.bit_depth]
        self._rf64_above_bytes = rf64_above_bytes
        self._frames = 0
        self._file = path.open("wb")
        # JUNK reserves space for ds64, so that a large file can become RF64 (EBU Tech 3306).
        self._file.write(b"RIFF\0\0\0\0WAVE" + _chunk(b"JUNK", bytes(28)))
        self._file.write(_chunk(b"fmt ", _format_chunk(settings)))
        if settings.bit_depth == 32:
            self._file.write(_chunk(b"fact", bytes(4)))
        if settings.time_reference_frames is not None:
            self._file.write(_chunk(b"bext", _broadcast_chunk(settings.time_reference_frames)))
        if settings.quarters_per_minute is not None:
            self._acid_at = self._file.tell()
            self._file.write(_chunk(b"acid", bytes(24)))
        self._file.write(b"data\0\0\0\0")
        self._first_byte = self._file.tell()

    def write(self, block: Float32) -> None:
        """Append frames."""
        self._file.write(encode_pcm(block, self._format, first_frame=self._frames))
        self._frames += len(block)

    def finish(self, tags: Mapping[str, str], cues: tuple[Cue, ...]) -> None:
        """Write the chunks after the samples, then the sizes."""
        rate = self._settings.rate_in_file
        data_bytes = self._file.tell() - self._first_byte
        if data_bytes % 2:
            self._file.write(b"\0")
        if cues:
            self._file.write(_chunk(b"cue ", _cue_chunk(cues)))
            self._file.write(_chunk(b"LIST", _label_chunk(cues)))
        if information := _information_chunk(tags):
            self._file.write(_chunk(b"LIST", information))
        if tags:
            # No chapters here: readers that show cue points as chapters would show each of them twice.
            self._file.write(_chunk(b"id3 ", pack_id3(tags, (), sample_rate=rate, total_frames=self._frames)))
        if packet := pack_xmp(tags):
            self._file.write(_chunk(_XMP_CHUNK, packet))
        self._write_sizes(data_bytes, riff_bytes=self._file.tell() - 8)
        self._file.close()

    def discard(self) -> None:
        """Close without finishing."""
        self._file.close()

    def _write_sizes(self, data_bytes: int, riff_bytes: int) -> None:
        is_rf64 = riff_bytes > self._rf64_above_bytes
        self._file.seek(0)
        self._file.write(b"RF64" if is_rf64 else b"RIFF")
        self._file.write(struct.pack("<I", _LARGEST_RIFF if is_rf64 else riff_bytes))
        if is_rf64:
            self._file.seek(12)
            self._file.write(_chunk(b"ds64", struct.pack("<QQQI", riff_bytes, data_bytes, self._frames, 0)))
        self._file.seek(self._first_byte - 4)
        self._file.write(struct.pack("<I", _LARGEST_RIFF if is_rf64 else data_bytes))
        if self._settings.bit_depth == 32:
            self._file.seek(12 + 36 + 8 + len(_format_chunk(self._settings)) + 8)
            self._file.write(struct.pack("<I", min(self._frames, _LARGEST_RIFF)))
        if self._settings.quarters_per_minute is not None:
            self._file.seek(self._acid_at)
            self._file.write(_chunk(b"acid", self._acid_chunk(self._settings.quarters_per_minute)))

    def _acid_chunk(self, quarters_per_minute: float) -> bytes:
        beats = round(self._frames / self._settings.rate_in_file * quarters_per_minute / 60)
        one_shot, root_note, unknown = 1, 60, 0x8000
        return struct.pack("<IHHfIHHf", one_shot, root_note, unknown, 0.0, beats, 4, 4, quarters_per_minute)


def read_tags(source: IO[bytes]) -> dict[str, str]:
    """Read the tags of a WAV file from its ID3 chunk, and what its XMP packet says."""
    tags: dict[str, str] = {}
    of_xmp: dict[str, str] = {}
    for name, size in _chunks(source):
        if size > _LARGEST_TAGS:
            continue
        if name in (b"id3 ", b"ID3 ") and not tags:
            tags = unpack_id3(source.read(size))
        elif name == _XMP_CHUNK and not of_xmp:
            of_xmp = unpack_xmp(source.read(size))
    return of_xmp | tags


def read_cues(source: IO[bytes]) -> list[tuple[int, str]]:
    """Read cue points as (first frame, label)."""
    positions: dict[int, int] = {}
    labels: dict[int, str] = {}
    for name, size in _chunks(source):
        if size > _LARGEST_TAGS or name not in (b"cue ", b"LIST"):
            continue
        body = source.read(size)
        if name == b"cue ":
            points = np.frombuffer(body[4 : 4 + (size - 4) // 24 * 24], dtype="<u4").reshape(-1, 6)
            positions = {int(point[0]): int(point[5]) for point in points}
        elif body[:4] == b"adtl":
            labels |= dict(_labels(body[4:]))
    return sorted((frame, labels.get(number, "")) for number, frame in positions.items())


def _labels(body: bytes) -> Iterator[tuple[int, str]]:
    position = 0
    while position + 12 <= len(body):
        size, number = struct.unpack_from("<II", body, position + 4)
        if body[position : position + 4] == b"labl":
            yield number, body[position + 12 : position + 8 + size].rstrip(b"\0").decode("utf-8", errors="replace")
        position += 8 + size + size % 2


def _chunks(source: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield each chunk's name and size with `source` at its body; reading the body is optional."""
    head = source.read(12)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        raise UnreadableAudio("this is not a WAV file")
    position = 12
    long_data_bytes = 0
    for _ in range(_MOST_CHUNKS):
        head = source.read(8)
        if len(head) < 8:
            return
        name, size = struct.unpack("<4sI", head)
        if name == b"ds64":
            long_data_bytes = int.from_bytes(source.read(16)[8:], "little")
        elif name == b"data" and size == _LARGEST_RIFF:
            size = long_data_bytes
        yield name, size
        position += 8 + size + size % 2
        source.seek(position)
    raise UnreadableAudio(f"the WAV file has more than {_MOST_CHUNKS} chunks")


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _format_chunk(settings: AudioFileSettings) -> bytes:
    sample_bytes = settings.bit_depth // 8
    tag = 3 if settings.bit_depth == 32 else 1
    frame_bytes = sample_bytes * settings.channels
    rate = settings.rate_in_file
    numbers = (settings.channels, rate, rate * frame_bytes, frame_bytes, settings.bit_depth)
    if settings.channels <= 2:
        return struct.pack("<HHIIHH", tag, *numbers)
    # WAVE_FORMAT_EXTENSIBLE assigns channels to speakers.
    guid = struct.pack("<H", tag) + bytes.fromhex("000000001000800000aa00389b71")
    extension = struct.pack("<HHI", 22, settings.bit_depth, _SPEAKERS[settings.channels])
    return struct.pack("<HHIIHH", 0xFFFE, *numbers) + extension + guid


def _broadcast_chunk(time_reference_frames: int) -> bytes:
    # EBU Tech 3285: only the time reference; date and time would make the bytes depend on the clock.
    return bytes(338) + struct.pack("<QH", time_reference_frames, 1) + bytes(254)


def _information_chunk(tags: Mapping[str, str]) -> bytes:
    found = [_chunk(name, tags[tag].encode() + b"\0") for tag, name in _INFORMATION.items() if tag in tags]
    return b"INFO" + b"".join(found) if found else b""


def _cue_chunk(cues: tuple[Cue, ...]) -> bytes:
    points = [
        struct.pack("<II4sIII", number, cue.first_frame, b"data", 0, 0, cue.first_frame)
        for number, cue in enumerate(cues, start=1)
    ]
    return struct.pack("<I", len(points)) + b"".join(points)


def _label_chunk(cues: tuple[Cue, ...]) -> bytes:
    labels = [
        _chunk(b"labl", struct.pack("<I", number) + cue.label.encode() + b"\0")
        for number, cue in enumerate(cues, start=1)
    ]
    return b"adtl" + b"".join(labels)
