"""The table of output formats: one entry per format; every other place derives from it.

The name of a member is that of the contract's enum without `FILE_FORMAT_`. What clients need, suffixes and media type,
is in the contract as options of the enum's values; a test keeps both equal. docs/extending.md has the recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from segue_audio.errors import InvalidSettings

MIN_SAMPLE_RATE = 8_000
MAX_SAMPLE_RATE = 192_000
DEFAULT_BIT_DEPTH = 24


class Tags(Enum):
    """Where a format keeps its tags."""

    FLAC_BLOCK = "VORBIS_COMMENT block of FLAC"
    OGG_PACKET = "comment packet of an Ogg stream"
    ID3_HEAD = "ID3 tag before the audio"
    RIFF_CHUNKS = "ID3 and LIST chunks of RIFF"


@dataclass(frozen=True, slots=True)
class BitRateRange:
    """Bit rates in kbit/s that the encoder has from a sample rate on."""

    min_sample_rate: int
    low: int
    high: int
    default: int


@dataclass(frozen=True, slots=True)
class BitRates:
    """Bit rates of a lossy format."""

    ranges: tuple[BitRateRange, ...]
    """From the highest sample rate down; the first one bounds the setting."""
    per_channel: bool = False
    constant: bool = False

    def range_at(self, sample_rate: int) -> BitRateRange:
        """Return the range for a sample rate."""
        return next(each for each in self.ranges if sample_rate >= each.min_sample_rate)


@dataclass(frozen=True, slots=True)
class FormatEntry:
    """The facts about one output format."""

    suffixes: tuple[str, ...]
    """Suffixes of file names; files that we write have the first one."""
    media_type: str
    tags: Tags
    bit_depths: tuple[int, ...] = ()
    """Bits per sample; 32 is float. Empty for lossy formats."""
    bit_rates: BitRates | None = None
    """Lossy formats only."""
    sample_rates: tuple[int, ...] = ()
    """Empty means any from MIN_SAMPLE_RATE to MAX_SAMPLE_RATE."""
    default_sample_rate: int | None = None
    """None means the rate of the audio."""
    max_channels: int = 8
    sndfile_format: str = ""
    """Major format of libsndfile; empty means an encoder of our own."""
    sndfile_subtype: str = ""
    """Subtype of libsndfile for lossy formats."""
    has_studio_chunks: bool = False
    """Whether it holds a tempo and a time reference for audio workstations."""
    has_r128_gain: bool = False
    """Whether players look for R128_TRACK_GAIN."""


class FileFormat(Enum):
    """A format of audio files that can be written."""

    FLAC = FormatEntry(
        suffixes=(".flac",),
        media_type="audio/flac",
        tags=Tags.FLAC_BLOCK,
        bit_depths=(16, 24),
        sndfile_format="FLAC",
    )
    WAV = FormatEntry(
        suffixes=(".wav",),
        media_type="audio/wav",
        tags=Tags.RIFF_CHUNKS,
        bit_depths=(16, 24, 32),
        has_studio_chunks=True,
    )
    OGG_OPUS = FormatEntry(
        suffixes=(".opus", ".ogg"),
        media_type="audio/ogg",
        tags=Tags.OGG_PACKET,
        bit_rates=BitRates((BitRateRange(0, low=6, high=250, default=96),), per_channel=True),
        sample_rates=(8_000, 12_000, 16_000, 24_000, 48_000),
        default_sample_rate=48_000,
        sndfile_format="OGG",
        sndfile_subtype="OPUS",
        has_r128_gain=True,
    )
    MP3 = FormatEntry(
        suffixes=(".mp3",),
        media_type="audio/mpeg",
        tags=Tags.ID3_HEAD,
        # MPEG-1, and MPEG-2 below 32 kHz.
        bit_rates=BitRates(
            (BitRateRange(32_000, low=32, high=320, default=256), BitRateRange(0, low=8, high=160, default=160)),
            constant=True,
        ),
        sample_rates=(8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
        max_channels=2,
        sndfile_format="MP3",
        sndfile_subtype="MPEG_LAYER_III",
    )

    @property
    def contract_name(self) -> str:
        """The name of the value in the contract's enum segue.audio.v1.FileFormat."""
        return f"FILE_FORMAT_{self.name}"

    @property
    def suffix(self) -> str:
        """The usual suffix."""
        return self.value.suffixes[0]

    @property
    def media_type(self) -> str:
        """The media type."""
        return self.value.media_type

    @property
    def is_lossless(self) -> bool:
        """Whether decoding returns the written samples."""
        return bool(self.value.bit_depths)

    def has_sample_rate(self, sample_rate: int) -> bool:
        """Return whether a file of this format can have this rate."""
        allowed = self.value.sample_rates
        return sample_rate in allowed if allowed else MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE


SUFFIXES = {suffix: kind for kind in FileFormat for suffix in kind.value.suffixes}


def format_of(path_suffix: str) -> FileFormat:
    """Return the format of a file name's suffix."""
    kind = SUFFIXES.get(path_suffix.lower())
    if kind is not None:
        return kind
    *others, last = SUFFIXES
    raise InvalidSettings(f"{path_suffix!r} is not a known suffix; use {', '.join(others)} or {last}")
