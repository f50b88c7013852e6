"""The reader of audio files that may be hostile: checks limits first, decodes block by block, checks the length."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import soundfile

from segue_audio.errors import AudioTooLarge, UnreadableAudio
from segue_audio.files.settings import MANIFEST_TAG
from segue_audio.files.tags import read_any_tags
from segue_audio.pcm import check_finite
from segue_audio.readable_files import READABLE, ReadLimits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from segue_audio.arrays import Float32


UNKNOWN_FRAMES = 2**63 - 1
"""libsndfile's length of a FLAC file whose header has none: an encoder that writes to a pipe does not know it."""
COUNT_FRAMES = 65_536
_READABLE_FORMATS = {name for container in READABLE for name in container.sndfile_formats}


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc] # the library has no type information
    """A file that does not seek: soundfile seeks after every read, which damages the audio of an MP3 there."""

    def seekable(self) -> bool:
        """Return False: reading goes forward only."""
        return False


class AudioFileReader(AbstractContextManager["AudioFileReader"]):
    """An open audio file within the limits."""

    def __init__(self, path: Path, limits: ReadLimits) -> None:
        self.path = path
        try:
            self._sound = _ForwardFile(path)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise UnreadableAudio(f"{path.name} cannot be read as audio: {error}") from None
        self.frames: int = self._sound.frames
        try:
            self._check_format(limits)
            if self.frames == UNKNOWN_FRAMES:
                self.frames = self._count_frames(limits)
            self._check_length(limits)
        except BaseException:
            self._sound.close()
            raise
        self.sample_rate: int = self._sound.samplerate
        self.channels: int = self._sound.channels

    def blocks(self, block_frames: int = 65_536) -> Iterator[Float32]:
        """Decode to the end; raises when the file has fewer frames than it claims, or a sample is not finite."""
        position = 0
        while True:
            try:
                if position == 0:
                    self._sound.seek(0)
                block = cast("Float32", self._sound.read(block_frames, dtype="float32", always_2d=True))
            except (soundfile.LibsndfileError, RuntimeError) as error:
                raise UnreadableAudio(f"{self.path.name} is damaged at frame {position}: {error}") from None
            if len(block) == 0:
                break
            check_finite(block, first_frame=position)
            position += len(block)
            yield block
        if position != self.frames:
            raise UnreadableAudio(f"{self.path.name} claims {self.frames} frames, but only {position} could be decoded")

    def close(self) -> None:
        """Close the file."""
        self._sound.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _count_frames(self, limits: ReadLimits) -> int:
        """Decode a file whose header has no length, at most up to the limits, and open it again."""
        most, frames = min(limits.max_frames, limits.max_seconds * self._sound.samplerate), 0
        block = np.empty((COUNT_FRAMES, self._sound.channels), np.float32)
        try:
            while frames <= most and (found := len(self._sound.read(out=block))):
                frames += found
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise UnreadableAudio(f"{self.path.name} is damaged at frame {frames}: {error}") from None
        self._sound.close()
        self._sound = _ForwardFile(self.path)
        return frames

    def _check_format(self, limits: ReadLimits) -> None:
        sound, name = self._sound, self.path.name
        if sound.format not in _READABLE_FORMATS:
            readable = ", ".join(container.name for container in READABLE)
            raise UnreadableAudio(f"{name} is {sound.format}; readable are {readable}")
        if not limits.min_sample_rate <= sound.samplerate <= limits.max_sample_rate:
            low, high = limits.min_sample_rate, limits.max_sample_rate
            raise AudioTooLarge(f"{name} has a sample rate of {sound.samplerate} Hz; allowed are {low} to {high}")
        if sound.channels > limits.max_channels:
            raise AudioTooLarge(f"{name} has {sound.channels} channels; the limit is {limits.max_channels}")

    def _check_length(self, limits: ReadLimits) -> None:
        name, rate = self.path.name, self._sound.samplerate
        if self.frames <= 0:
            raise UnreadableAudio(f"{name} has no frames")
        if self.frames > limits.max_frames or self.frames > limits.max_seconds * rate:
            seconds = self.frames / rate
            raise AudioTooLarge(f"{name} claims {seconds:.0f} s; the limit is {limits.max_seconds:.0f} s")


@dataclass(frozen=True, slots=True)
class FileTags:
    """Tags and manifest of a file."""

    tags: dict[str, str]
    manifest: str
    """The reproduction manifest, a JSON text; empty when the file has none."""


def open_reader(path: str | Path, limits: ReadLimits | None = None) -> AudioFileReader:
    """Open an audio file; checks the limits before anything is decoded."""
    return AudioFileReader(Path(path), limits or ReadLimits())


def read_audio(path: str | Path, limits: ReadLimits | None = None) -> tuple[Float32, int]:
    """Read a whole file into memory."""
    with open_reader(path, limits) as reader:
        return np.concatenate(list(reader.blocks())), reader.sample_rate


def read_tags(path: str | Path) -> FileTags:
    """Read tags and manifest of a WAV, FLAC, Ogg Opus or MP3 file."""
    path = Path(path)
    with path.open("rb") as source:
        tags = read_any_tags(source)
    return FileTags(
        tags={name: text for name, text in tags.items() if name != MANIFEST_TAG}, manifest=tags.get(MANIFEST_TAG, "")
    )


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Read the reproduction manifest; raises UnreadableAudio when the file has none."""
    text = read_tags(path).manifest
    if not text:
        raise UnreadableAudio(f"{Path(path).name} has no reproduction manifest; segued writes one into its files")
    try:
        manifest: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise UnreadableAudio(f"{Path(path).name}: the reproduction manifest is damaged: {error}") from None
    if not isinstance(manifest, dict):
        raise UnreadableAudio(f"{Path(path).name}: the reproduction manifest is not a JSON object")
    return cast("dict[str, Any]", manifest)
