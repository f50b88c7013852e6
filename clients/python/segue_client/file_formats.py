"""Suffixes and media types of audio files, from the options of the contract's enum FileFormat."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import BinaryIO, Final

from segue.audio.v1 import audio_pb2

FILE_FORMATS: Final = {
    audio_pb2.FileFormat.ValueType(value.number): value.GetOptions().Extensions[audio_pb2.file_format]
    for value in audio_pb2.FileFormat.DESCRIPTOR.values
    if value.number
}
SUFFIXES: Final = {suffix: number for number, options in FILE_FORMATS.items() for suffix in options.suffixes}


def file_format_of(target: Path) -> tuple[audio_pb2.FileFormat.ValueType, str]:
    """Return the file format and the media type of a file name."""
    number = SUFFIXES.get(target.suffix.lower())
    if number is None:
        raise ValueError(f"{target}: unknown file format; use one of {' '.join(SUFFIXES)}")
    return number, FILE_FORMATS[number].media_type


def media_type_of(file: PurePath | BinaryIO) -> str:
    """Return the media type of an audio file of any name, or of an open one, whose name is unknown."""
    number = SUFFIXES.get(file.suffix.lower()) if isinstance(file, PurePath) else None
    return "application/octet-stream" if number is None else FILE_FORMATS[number].media_type
