"""Audio files: written block by block in the formats of `segue_audio.formats`, and read within limits."""

from segue_audio.files.provenance import AI_SYSTEM_TAG, SOURCE_TYPE_TAG, SOURCE_TYPES
from segue_audio.files.reader import (
    AudioFileReader,
    FileTags,
    open_reader,
    read_audio,
    read_manifest,
    read_tags,
)
from segue_audio.files.settings import AudioFileSettings, Cue, loudness_tags
from segue_audio.files.writer import AudioFileWriter, open_writer
from segue_audio.formats import FileFormat, format_of
from segue_audio.readable_files import ReadLimits

__all__ = [
    "AI_SYSTEM_TAG",
    "SOURCE_TYPES",
    "SOURCE_TYPE_TAG",
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
