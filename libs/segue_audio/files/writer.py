"""The writer of audio files: a file appears whole under its name when it is closed, or not at all."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from segue_audio.errors import InvalidSettings
from segue_audio.files.encoder import SndfileEncoder
from segue_audio.files.settings import MANIFEST_TAG, AudioFileSettings, Cue
from segue_audio.files.wav import WavEncoder
from segue_audio.pcm import check_finite
from segue_audio.resample import StreamResampler, resampled_frames

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from segue_audio.arrays import Float32


class _Encoder(Protocol):
    def write(self, block: Float32) -> None: ...
    def finish(self, tags: Mapping[str, str], cues: tuple[Cue, ...]) -> None: ...
    def discard(self) -> None: ...


class AudioFileWriter(AbstractContextManager["AudioFileWriter"]):
    """One file being written; the end of the `with` block closes it, an exception discards it."""

    def __init__(self, path: Path, settings: AudioFileSettings) -> None:
        self.path = path
        self.settings = settings
        self.clipped_samples = 0
        """Samples beyond full scale, which an integer or lossy file cannot hold."""
        self.frames_written = 0
        """Frames so far, at the rate of the blocks."""
        self._tags = dict(settings.tags)
        self._resampler = StreamResampler(settings.sample_rate, settings.rate_in_file, settings.channels)
        self._partial = path.with_name(path.name + ".part")
        self._encoder: _Encoder | None = (
            SndfileEncoder(self._partial, settings)
            if settings.file_format.value.sndfile_format
            else WavEncoder(self._partial, settings)
        )

    def write(self, block: Float32) -> None:
        """Append frames of shape (frames, channels); raises NonFiniteAudio for NaN and infinity."""
        if block.ndim != 2 or block.shape[1] != self.settings.channels:
            raise InvalidSettings(f"a block of shape {block.shape}; expected (frames, {self.settings.channels})")
        check_finite(block, first_frame=self.frames_written)
        self.frames_written += len(block)
        self._encode(self._resampler.push(block))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Add or replace tags that are known late, such as the measured loudness."""
        checked = dataclasses.replace(self.settings, tags={**self._tags, **tags})
        self._tags = dict(checked.tags)

    def close(self) -> None:
        """Finish the file and move it to its name; more calls do nothing."""
        if self._encoder is None:
            return
        try:
            self._encode(self._resampler.finish())
            tags = dict(self._tags)
            if self.settings.manifest:
                tags[MANIFEST_TAG] = self.settings.manifest
            self._encoder.finish(tags, self._cues_in_file())
            self._partial.replace(self.path)
        except BaseException:
            self.discard()
            raise
        self._encoder = None

    def discard(self) -> None:
        """Stop and delete the partial file."""
        if self._encoder is not None:
            self._encoder.discard()
            self._encoder = None
        self._partial.unlink(missing_ok=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _encode(self, block: Float32) -> None:
        if self._encoder is None:
            raise InvalidSettings(f"{self.path.name} is closed")
        if len(block) == 0:
            return
        if not self.settings.is_float:
            self.clipped_samples += int(np.count_nonzero(np.abs(block) > 1.0))
        self._encoder.write(block)

    def _cues_in_file(self) -> tuple[Cue, ...]:
        rate, rate_in_file = self.settings.sample_rate, self.settings.rate_in_file
        return tuple(
            Cue(resampled_frames(cue.first_frame, rate, rate_in_file), cue.label) for cue in self.settings.cues
        )


def open_writer(path: str | Path, settings: AudioFileSettings) -> AudioFileWriter:
    """Begin a file; when complete it replaces an existing file of that name."""
    return AudioFileWriter(Path(path), settings)
