"""Sound files: written block by block, read within limits."""

from segue_audio.files.reading import (
    AudioFileReader,
    FileTags,
    open_reader,
    read_audio,
    read_manifest,
    read_tags,
)
from segue_audio.files.settings import AudioFileSettings, Cue, FileFormat, format_of, loudness_tags
from segue_audio.files.writing import AudioFileWriter, open_writer
from segue_audio.limits import ReadLimits

__all__ = [
    "AudioFileReader",
    "AudioFileSettings",
    "AudioFileWriter",
    "Cue",
    "FileFormat",
    "FileTags",
    "ReadLimits",
    "format_of",
    "loudness_tags",
    "open_reader",
    "open_writer",
    "read_audio",
    "read_manifest",
    "read_tags",
]
