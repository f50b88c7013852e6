"""What a sound file shall be: format, rate, depth, cue points, tags and manifest."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

from segue_audio.errors import InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST_TAG = "SEGUE_MANIFEST"
"""The tag that holds the reproduction manifest in every format."""

OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
OPUS_KBPS_PER_CHANNEL = (6, 250)
MP3_KBPS = (32, 320)


class FileFormat(Enum):
    """A kind of sound file; the value is the usual suffix."""

    FLAC = ".flac"
    WAV = ".wav"
    OGG_OPUS = ".opus"
    MP3 = ".mp3"

    @property
    def is_lossless(self) -> bool:
        """Whether decoding gives the written samples back."""
        return self in (FileFormat.FLAC, FileFormat.WAV)


@dataclass(frozen=True, slots=True)
class Cue:
    """A named position; `first_frame` counts frames of the audio that is written, not of the file."""

    first_frame: int
    label: str


@dataclass(frozen=True, slots=True)
class AudioFileSettings:
    """Everything about a file to be written; what cannot be honoured is refused when it is made."""

    file_format: FileFormat = FileFormat.FLAC
    channels: int = 2
    sample_rate: int = 48_000
    """Frames a second of the blocks that will be written."""
    file_sample_rate: int | None = None
    """Frames a second of the file; None means sample_rate, and 48 000 for Opus."""
    bit_depth: int = 24
    """16 (TPDF dither), 24, or 32 (float, WAV only); has no meaning for lossy formats."""
    bitrate_kbps: int | None = None
    """Lossy formats only; None means 192 for two channels of Opus and 256 for MP3."""
    cues: tuple[Cue, ...] = ()
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Names as in Vorbis comments: TITLE, COMMENT, BPM, KEY, LICENSE, ENCODER, REPLAYGAIN_TRACK_GAIN …"""
    manifest: str = ""
    """The reproduction manifest, a JSON text; empty means none."""
    quarters_per_minute: float | None = None
    """The tempo that WAV's `acid` chunk states; None leaves the chunk out."""
    time_reference_frames: int | None = None
    """WAV's `bext` time reference: the file's first frame on a longer timeline; None leaves the chunk out."""

    def __post_init__(self) -> None:
        """Refuse what the format cannot hold."""
        self._check_shape()
        self._check_bitrate()
        for name in self.tags:
            if not name or "=" in name or not name.isascii() or not name.isprintable():
                raise InvalidSettings(f"tag name {name!r}: printable ASCII without '=' is needed")
        if self.file_format is not FileFormat.WAV:
            self._refuse_wav_only()
        frames = [cue.first_frame for cue in self.cues]
        if frames != sorted(frames) or (frames and frames[0] < 0):
            raise InvalidSettings("cues must be in order and not before frame 0")

    @property
    def rate_in_file(self) -> int:
        """Frames a second that the file will have."""
        if self.file_sample_rate is not None:
            return self.file_sample_rate
        return 48_000 if self.file_format is FileFormat.OGG_OPUS else self.sample_rate

    @property
    def kbps(self) -> int:
        """The bit rate that a lossy file will be encoded for."""
        if self.bitrate_kbps is not None:
            return self.bitrate_kbps
        if self.file_format is FileFormat.MP3:
            return 256 if self.rate_in_file >= 32_000 else 160
        return 96 * self.channels

    def _check_shape(self) -> None:
        kind = self.file_format
        most_channels = {FileFormat.MP3: 2, FileFormat.WAV: 8}.get(kind, 8)
        if not 1 <= self.channels <= most_channels:
            raise InvalidSettings(f"{self.channels} channels in a {kind.name} file; it holds 1 to {most_channels}")
        if not 8_000 <= self.sample_rate <= 192_000:
            raise InvalidSettings(f"{self.sample_rate} frames a second; 8000 to 192000 can be written")
        rates = {FileFormat.OGG_OPUS: OPUS_RATES, FileFormat.MP3: MP3_RATES}.get(kind)
        if rates and self.rate_in_file not in rates:
            raise InvalidSettings(f"{kind.name} cannot have {self.rate_in_file} frames a second; it can have {rates}")
        if not 8_000 <= self.rate_in_file <= 192_000:
            raise InvalidSettings(f"{self.rate_in_file} frames a second in the file; 8000 to 192000 can be written")
        depths = {FileFormat.FLAC: (16, 24), FileFormat.WAV: (16, 24, 32)}.get(kind)
        if depths and self.bit_depth not in depths:
            raise InvalidSettings(f"{self.bit_depth} bits in a {kind.name} file; it can have {depths}")

    def _refuse_wav_only(self) -> None:
        for name in ("time_reference_frames", "quarters_per_minute"):
            if getattr(self, name) is not None:
                raise InvalidSettings(f"{name} can be written to WAV only; for other formats use the tag BPM")

    def _check_bitrate(self) -> None:
        if self.bitrate_kbps is None:
            return
        if self.file_format.is_lossless:
            raise InvalidSettings(f"a {self.file_format.name} file has no bit rate to choose")
        low, high = MP3_KBPS
        if self.file_format is FileFormat.OGG_OPUS:
            low, high = (bound * self.channels for bound in OPUS_KBPS_PER_CHANNEL)
        if not low <= self.bitrate_kbps <= high:
            raise InvalidSettings(f"{self.bitrate_kbps} kbit/s; {low} to {high} can be encoded")


def format_of(path_suffix: str) -> FileFormat:
    """Choose the format by a file name's suffix; `.ogg` means Opus."""
    suffix = path_suffix.lower()
    if suffix == ".ogg":
        return FileFormat.OGG_OPUS
    for kind in FileFormat:
        if kind.value == suffix:
            return kind
    raise InvalidSettings(f"{path_suffix!r} is no known suffix; use .flac, .wav, .opus, .ogg or .mp3")


def loudness_tags(
    file_format: FileFormat, *, integrated_lufs: float | None, true_peak_dbtp: float | None
) -> dict[str, str]:
    """Say the loudness in the tags players look for: ReplayGain 2.0, and Opus's own R128 gain."""
    tags: dict[str, str] = {}
    if integrated_lufs is not None:
        tags["REPLAYGAIN_TRACK_GAIN"] = f"{-18.0 - integrated_lufs:.2f} dB"
        tags["REPLAYGAIN_REFERENCE_LOUDNESS"] = "-18.00 LUFS"
        tags["LOUDNESS_INTEGRATED"] = f"{integrated_lufs:.2f} LUFS"
        if file_format is FileFormat.OGG_OPUS:
            # RFC 7845 section 5.2.1: relative to -23 LUFS, in 1/256 dB.
            tags["R128_TRACK_GAIN"] = str(round((-23.0 - integrated_lufs) * 256))
    if true_peak_dbtp is not None:
        tags["REPLAYGAIN_TRACK_PEAK"] = f"{10 ** (true_peak_dbtp / 20):.6f}"
        tags["LOUDNESS_TRUE_PEAK"] = f"{true_peak_dbtp:.2f} dBTP"
    return tags
