"""The encoder for formats of libsndfile; tags are added when the audio is complete."""

from __future__ import annotations

import contextlib
import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from segue_audio.files.tags import TAG_COPIERS
from segue_audio.pcm import quantise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from segue_audio.arrays import Float32
    from segue_audio.files.settings import AudioFileSettings, Cue


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Raise libsndfile's errors as those of the disk: it has no other with samples and settings that were checked."""
    try:
        yield
    except (soundfile.LibsndfileError, AssertionError) as error:  # soundfile asserts that all frames were written
        raise OSError(errno.ENOSPC, f"the encoder could not write: {error}") from error


class SndfileEncoder:
    """Encodes into a file beside the target; `finish` copies it to the target with tags."""

    def __init__(self, path: Path, settings: AudioFileSettings) -> None:
        self._settings = settings
        self._target = path
        self._encoded = path.with_name(path.name + ".enc")
        entry = settings.file_format.value
        rates = entry.bit_rates
        self._frames = 0
        with _disk_errors():
            self._sndfile = soundfile.SoundFile(
                self._encoded,
                "w",
                settings.rate_in_file,
                settings.channels,
                subtype=entry.sndfile_subtype or f"PCM_{settings.bit_depth}",
                format=entry.sndfile_format,
                compression_level=_compression_level(settings),
                bitrate_mode="CONSTANT" if rates is not None and rates.constant else None,
            )

    def write(self, block: Float32) -> None:
        """Append frames."""
        if self._settings.file_format.is_lossless:
            bits = self._settings.bit_depth
            samples = quantise(block, bits, first_frame=self._frames)
            # libsndfile reads the upper bits of a 32-bit integer.
            samples = np.left_shift(samples, 32 - bits)
        else:
            samples = np.clip(block, -1.0, 1.0)
        with _disk_errors():
            self._sndfile.write(samples)
        self._frames += len(block)

    def finish(self, tags: Mapping[str, str], cues: tuple[Cue, ...]) -> None:
        """End the encoding and write the target."""
        with _disk_errors():
            self._sndfile.close()
        copy = TAG_COPIERS[self._settings.file_format.value.tags]
        with self._encoded.open("rb") as source, self._target.open("wb") as target:
            copy(source, target, tags, cues, sample_rate=self._settings.rate_in_file, total_frames=self._frames)
        self._encoded.unlink()

    def discard(self) -> None:
        """Close without finishing."""
        with contextlib.suppress(soundfile.LibsndfileError):  # the end of the file does not fit on the disk
            self._sndfile.close()
        self._encoded.unlink(missing_ok=True)


def _compression_level(settings: AudioFileSettings) -> float | None:
    """Convert the bit rate to libsndfile's level, which counts down from the highest rate to the lowest."""
    rates = settings.file_format.value.bit_rates
    if rates is None:
        return None
    encodable = rates.range_at(settings.rate_in_file)
    kbps = settings.kbps / settings.channels if rates.per_channel else min(settings.kbps, encodable.high)
    return (encodable.high - kbps) / (encodable.high - encodable.low)
