"""Read sound files that may be hostile: limits first, then block by block, with the decoded length checked."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import soundfile

from segue_audio.errors import AudioTooLarge, UnreadableAudio
from segue_audio.files import flac, ogg, wav
from segue_audio.files.id3 import id3_size, unpack_id3
from segue_audio.files.settings import MANIFEST_TAG
from segue_audio.limits import ReadLimits
from segue_audio.pcm import check_finite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from segue_audio.arrays import Float32


_LARGEST_ID3 = 64 << 20
_KNOWN_KINDS = {"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "AIFF", "CAF", "W64"}


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc] # the library has no type information
    """soundfile seeks to where it stands after every read, which breaks an MP3's sound there: it is told it cannot."""

    def seekable(self) -> bool:
        """Say that reading goes forward only."""
        return False


class AudioFileReader(AbstractContextManager["AudioFileReader"]):
    """An open sound file within its limits."""

    def __init__(self, path: Path, limits: ReadLimits) -> None:
        self.path = path
        try:
            self._sound = _ForwardFile(path)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise UnreadableAudio(f"{path.name} cannot be read as sound: {error}") from None
        try:
            self._check(limits)
        except BaseException:
            self._sound.close()
            raise
        self.sample_rate: int = self._sound.samplerate
        self.channels: int = self._sound.channels
        self.frames: int = self._sound.frames

    def blocks(self, block_frames: int = 65_536) -> Iterator[Float32]:
        """Decode to the end; raises when fewer frames come than the file claims, or a sample is not finite."""
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
            raise UnreadableAudio(f"{self.path.name} claims {self.frames} frames, {position} could be decoded")

    def close(self) -> None:
        """Close the file."""
        self._sound.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, limits: ReadLimits) -> None:
        sound, name = self._sound, self.path.name
        if sound.format not in _KNOWN_KINDS:
            raise UnreadableAudio(f"{name} is {sound.format}; {', '.join(sorted(_KNOWN_KINDS))} can be read")
        if not limits.min_sample_rate <= sound.samplerate <= limits.max_sample_rate:
            low, high = limits.min_sample_rate, limits.max_sample_rate
            raise AudioTooLarge(f"{name} has {sound.samplerate} frames a second; {low} to {high} are allowed")
        if sound.channels > limits.max_channels:
            raise AudioTooLarge(f"{name} has {sound.channels} channels; {limits.max_channels} are allowed")
        if sound.frames <= 0:
            raise UnreadableAudio(f"{name} holds no frames")
        if sound.frames > limits.max_frames or sound.frames > limits.max_seconds * sound.samplerate:
            seconds = sound.frames / sound.samplerate
            raise AudioTooLarge(f"{name} claims {seconds:.0f} s; {limits.max_seconds:.0f} s are allowed")


@dataclass(frozen=True, slots=True)
class FileTags:
    """What a file says about itself besides its sound."""

    tags: dict[str, str]
    manifest: str
    """The reproduction manifest, a JSON text; empty when the file has none."""


def open_reader(path: str | Path, limits: ReadLimits | None = None) -> AudioFileReader:
    """Open a sound file; refuses what is beyond the limits before decoding anything."""
    return AudioFileReader(Path(path), limits or ReadLimits())


def read_audio(path: str | Path, limits: ReadLimits | None = None) -> tuple[Float32, int]:
    """Read a whole file; for short ones."""
    with open_reader(path, limits) as reader:
        return np.concatenate(list(reader.blocks())), reader.sample_rate


def read_tags(path: str | Path) -> FileTags:
    """Read tags and manifest of a WAV, FLAC, Ogg Opus or MP3 file."""
    path = Path(path)
    with path.open("rb") as source:
        head = source.read(10)
        source.seek(0)
        tags = _tags_by_kind(source, head)
    return FileTags(
        tags={name: text for name, text in tags.items() if name != MANIFEST_TAG}, manifest=tags.get(MANIFEST_TAG, "")
    )


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Read the reproduction manifest; raises UnreadableAudio when the file has none."""
    text = read_tags(path).manifest
    if not text:
        raise UnreadableAudio(f"{Path(path).name} holds no reproduction manifest; was it written by segued?")
    try:
        manifest: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise UnreadableAudio(f"{Path(path).name}: the reproduction manifest is damaged: {error}") from None
    if not isinstance(manifest, dict):
        raise UnreadableAudio(f"{Path(path).name}: the reproduction manifest is no JSON object")
    return cast("dict[str, Any]", manifest)


def _tags_by_kind(source: IO[bytes], head: bytes) -> dict[str, str]:
    if head[:4] == b"fLaC":
        return flac.read_tags(source)
    if head[:4] == b"OggS":
        return ogg.read_tags(source)
    if head[:4] in (b"RIFF", b"RF64"):
        return wav.read_tags(source)
    size = id3_size(head)
    if size > _LARGEST_ID3:
        raise UnreadableAudio("the ID3 tag is too large")
    return unpack_id3(source.read(size)) if size else {}
