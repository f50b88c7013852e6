"""FLAC, Opus and MP3 through libsndfile, with tags put in afterwards by ourselves."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from segue_audio.files import flac, ogg
from segue_audio.files.id3 import pack_id3
from segue_audio.files.settings import OPUS_KBPS_PER_CHANNEL, FileFormat
from segue_audio.files.vorbis import chapter_tags
from segue_audio.pcm import quantise

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from segue_audio.arrays import Float32
    from segue_audio.files.settings import AudioFileSettings, Cue

_KINDS = {FileFormat.FLAC: "FLAC", FileFormat.OGG_OPUS: "OGG", FileFormat.MP3: "MP3"}
_BITRATE_MODES = {FileFormat.MP3: "CONSTANT"}
_LOSSY_SUBTYPES = {FileFormat.OGG_OPUS: "OPUS", FileFormat.MP3: "MPEG_LAYER_III"}


class SndfileEncoder:
    """Encodes into a file beside the target; `finish` copies it to the target with tags."""

    def __init__(self, path: Path, settings: AudioFileSettings) -> None:
        self._settings = settings
        self._target = path
        self._encoded = path.with_name(path.name + ".enc")
        kind = settings.file_format
        self._frames = 0
        level = _compression_level(settings)
        self._sound = soundfile.SoundFile(
            self._encoded,
            "w",
            settings.rate_in_file,
            settings.channels,
            subtype=_LOSSY_SUBTYPES.get(kind, f"PCM_{settings.bit_depth}"),
            format=_KINDS[kind],
            compression_level=level,
            bitrate_mode=_BITRATE_MODES.get(kind),
        )

    def write(self, block: Float32) -> None:
        """Append frames."""
        if self._settings.file_format is FileFormat.FLAC:
            bits = self._settings.bit_depth
            samples = quantise(block, bits, first_frame=self._frames)
            # libsndfile takes the upper bits of a 32-bit integer.
            self._sound.write(np.left_shift(samples, 32 - bits))
        else:
            self._sound.write(np.clip(block, -1.0, 1.0))
        self._frames += len(block)

    def finish(self, tags: Mapping[str, str], cues: tuple[Cue, ...]) -> None:
        """End the encoding and write the target."""
        self._sound.close()
        rate = self._settings.rate_in_file
        with self._encoded.open("rb") as source, self._target.open("wb") as target:
            if self._settings.file_format is FileFormat.FLAC:
                flac.copy_with_tags(source, target, {**tags, **chapter_tags(cues, rate)})
            elif self._settings.file_format is FileFormat.OGG_OPUS:
                ogg.copy_with_tags(source, target, {**tags, **chapter_tags(cues, rate)})
            else:
                target.write(pack_id3(tags, cues, sample_rate=rate, total_frames=self._frames))
                shutil.copyfileobj(source, target, 1 << 20)
        self._encoded.unlink()

    def discard(self) -> None:
        """Close without finishing."""
        self._sound.close()
        self._encoded.unlink(missing_ok=True)


def _compression_level(settings: AudioFileSettings) -> float | None:
    """Turn the bit rate into libsndfile's level, which counts down from the highest rate to the lowest."""
    if settings.file_format is FileFormat.FLAC:
        return None
    if settings.file_format is FileFormat.OGG_OPUS:
        low, high = OPUS_KBPS_PER_CHANNEL
        return (high - settings.kbps / settings.channels) / (high - low)
    # libsndfile spreads the level over MPEG-1's or, below 32 kHz, MPEG-2's constant rates.
    low, high = (32, 320) if settings.rate_in_file >= 32_000 else (8, 160)
    return (high - min(settings.kbps, high)) / (high - low)
