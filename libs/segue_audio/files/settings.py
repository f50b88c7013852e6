"""Settings of an audio file to write: format, rate, depth, cue points, tags and manifest."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from segue_audio.errors import InvalidSettings
from segue_audio.formats import DEFAULT_BIT_DEPTH, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, FileFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST_TAG = "SEGUE_MANIFEST"
"""The tag that holds the reproduction manifest in every format."""


@dataclass(frozen=True, slots=True)
class Cue:
    """A named position; `first_frame` counts frames of the audio that is written, not of the file."""

    first_frame: int
    label: str


@dataclass(frozen=True, slots=True)
class AudioFileSettings:
    """Everything about a file to be written; raises InvalidSettings for what the format cannot hold."""

    file_format: FileFormat = FileFormat.FLAC
    channels: int = 2
    sample_rate: int = 48_000
    """Sample rate of the blocks that will be written."""
    file_sample_rate: int | None = None
    """Sample rate of the file; None means that of the blocks, or the format's default."""
    bit_depth: int = DEFAULT_BIT_DEPTH
    """16 (TPDF dither), 24, or 32 (float); has no meaning for lossy formats."""
    bitrate_kbps: int | None = None
    """Lossy formats only; None means the format's default."""
    cues: tuple[Cue, ...] = ()
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Names as in Vorbis comments: TITLE, COMMENT, BPM, KEY, LICENSE, ENCODER, REPLAYGAIN_TRACK_GAIN …"""
    manifest: str = ""
    """The reproduction manifest, a JSON text; empty means none."""
    quarters_per_minute: float | None = None
    """Tempo of WAV's `acid` chunk; None leaves the chunk out."""
    time_reference_frames: int | None = None
    """WAV's `bext` time reference: the file's first frame on a longer timeline; None leaves the chunk out."""

    def __post_init__(self) -> None:
        """Check that the format can hold these settings."""
        self._check_shape()
        self._check_bitrate()
        for name in self.tags:
            if not name or "=" in name or not name.isascii() or not name.isprintable():
                raise InvalidSettings(f"tag name {name!r}: printable ASCII without '=' is needed")
        if not self.file_format.value.has_studio_chunks:
            self._check_no_studio_chunks()
        frames = [cue.first_frame for cue in self.cues]
        if frames != sorted(frames) or (frames and frames[0] < 0):
            raise InvalidSettings("cues must be in order and not before frame 0")

    @property
    def rate_in_file(self) -> int:
        """Sample rate of the file."""
        if self.file_sample_rate is not None:
            return self.file_sample_rate
        return self.file_format.value.default_sample_rate or self.sample_rate

    @property
    def kbps(self) -> int:
        """Bit rate of a lossy file."""
        rates = self.file_format.value.bit_rates
        if self.bitrate_kbps is not None or rates is None:
            return self.bitrate_kbps or 0
        return rates.range_at(self.rate_in_file).default * (self.channels if rates.per_channel else 1)

    @property
    def is_float(self) -> bool:
        """Whether the file holds samples beyond full scale."""
        return self.file_format.is_lossless and self.bit_depth == 32

    def _check_shape(self) -> None:
        kind, entry = self.file_format, self.file_format.value
        if not 1 <= self.channels <= entry.max_channels:
            raise InvalidSettings(f"{self.channels} channels; a {kind.name} file has 1 to {entry.max_channels}")
        if not MIN_SAMPLE_RATE <= self.sample_rate <= MAX_SAMPLE_RATE:
            raise InvalidSettings(
                f"a sample rate of {self.sample_rate} Hz; {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} can be written"
            )
        if not kind.has_sample_rate(self.rate_in_file):
            rates = ", ".join(map(str, entry.sample_rates)) or f"{MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE}"
            raise InvalidSettings(f"a sample rate of {self.rate_in_file} Hz; a {kind.name} file has {rates}")
        if entry.bit_depths and self.bit_depth not in entry.bit_depths:
            depths = " or ".join(map(str, entry.bit_depths))
            raise InvalidSettings(f"{self.bit_depth} bits; a {kind.name} file has {depths}")

    def _check_no_studio_chunks(self) -> None:
        for name in ("time_reference_frames", "quarters_per_minute"):
            if getattr(self, name) is not None:
                raise InvalidSettings(f"{name} can be written to WAV only; for other formats use the tag BPM")

    def _check_bitrate(self) -> None:
        if self.bitrate_kbps is None:
            return
        rates = self.file_format.value.bit_rates
        if rates is None:
            raise InvalidSettings(f"a {self.file_format.name} file has no bit rate to choose")
        factor = self.channels if rates.per_channel else 1
        low, high = rates.ranges[0].low * factor, rates.ranges[0].high * factor
        if not low <= self.bitrate_kbps <= high:
            raise InvalidSettings(f"{self.bitrate_kbps} kbit/s; {low} to {high} can be encoded")


def loudness_tags(
    file_format: FileFormat, *, integrated_lufs: float | None, true_peak_dbtp: float | None
) -> dict[str, str]:
    """Return the loudness as players expect it: ReplayGain 2.0, and the R128 gain of Opus."""
    tags: dict[str, str] = {}
    if integrated_lufs is not None:
        tags["REPLAYGAIN_TRACK_GAIN"] = f"{-18.0 - integrated_lufs:.2f} dB"
        tags["REPLAYGAIN_REFERENCE_LOUDNESS"] = "-18.00 LUFS"
        tags["LOUDNESS_INTEGRATED"] = f"{integrated_lufs:.2f} LUFS"
        if file_format.value.has_r128_gain:
            # RFC 7845 section 5.2.1: relative to -23 LUFS, in 1/256 dB.
            tags["R128_TRACK_GAIN"] = str(round((-23.0 - integrated_lufs) * 256))
    if true_peak_dbtp is not None:
        tags["REPLAYGAIN_TRACK_PEAK"] = f"{10 ** (true_peak_dbtp / 20):.6f}"
        tags["LOUDNESS_TRUE_PEAK"] = f"{true_peak_dbtp:.2f} dBTP"
    return tags
