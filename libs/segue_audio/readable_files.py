"""Which audio files are read: the kinds of container, and limits of size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Limits of a file from outside."""

    max_frames: int = 192_000 * 3 * 3600
    max_seconds: float = 3 * 3600.0
    max_channels: int = 8
    min_sample_rate: int = 8_000
    max_sample_rate: int = 192_000


@dataclass(frozen=True, slots=True)
class Container:
    """A kind of audio file that can be read."""

    name: str
    sndfile_formats: tuple[str, ...]
    magics: tuple[bytes, ...]
    """First bytes of such a file."""


READABLE: Final = (
    Container("WAV", ("WAV", "WAVEX", "RF64"), (b"RIFF", b"RF64")),
    Container("FLAC", ("FLAC",), (b"fLaC",)),
    Container("Ogg", ("OGG",), (b"OggS",)),
    # MPEG audio without a tag has no magic: `is_readable` recognises its first frame.
    Container("MP3", ("MP3",), (b"ID3",)),
    Container("AIFF", ("AIFF",), (b"FORM",)),
    Container("CAF", ("CAF",), (b"caff",)),
    Container("Wave64", ("W64",), (b"riff",)),
)


def is_readable(head: bytes) -> bool:
    """Return whether a file with these first bytes can be audio that is read."""
    is_mpeg = len(head) >= 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0
    return is_mpeg or head.startswith(tuple(magic for kind in READABLE for magic in kind.magics))
