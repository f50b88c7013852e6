"""The stream of one composition as users hold it: its events, its sound, its file."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client import transfers
from segue_client.errors import DamagedAudio, from_status
from segue_client.events import Audio, Finished, Rewound, Update
from segue_client.files import GrowingWav, refuse_existing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

    from segue.composer.v1.composition_pb2 import Composition, Output
    from segue.composer.v1.spec_pb2 import CompositionSpec
    from segue_client.link import Link
    from segue_client.resuming import Resuming

SELECTIONS: Final = {
    audio_pb2.STAGE_DRAFT: stream_pb2.AUDIO_SELECTION_DRAFT,
    audio_pb2.STAGE_MASTER: stream_pb2.AUDIO_SELECTION_MASTER,
}
FORMATS: Final = {
    ".flac": (audio_pb2.FILE_FORMAT_FLAC, "audio/flac"),
    ".wav": (audio_pb2.FILE_FORMAT_WAV, "audio/wav"),
    ".opus": (audio_pb2.FILE_FORMAT_OGG_OPUS, "audio/ogg"),
    ".ogg": (audio_pb2.FILE_FORMAT_OGG_OPUS, "audio/ogg"),
    ".mp3": (audio_pb2.FILE_FORMAT_MP3, "audio/mpeg"),
}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of frames. When `first_frame` is not the end of the chunk before, the sound is made again from there."""

    first_frame: int
    sample_rate: int
    samples: NDArray[np.float32]
    """(frames, channels), full scale 1.0."""


@dataclass
class Listening:
    """What a stream is to carry; it can be changed until the first event was asked for."""

    audio: stream_pb2.AudioSelection.ValueType
    encoding: audio_pb2.SampleFormat.ValueType
    spec: CompositionSpec | None = None
    """What is to be composed; None for a watch."""


class Stream:
    """An async iterator over what happens to a composition. Nothing is sent before the first event is asked for.

    Use it once, in one way: iterate, or `result`, `save`, `save_live` or `chunks`.
    """

    def __init__(
        self, link: Link, listening: Listening, begin: Callable[[Listening], Resuming], *, raises: bool
    ) -> None:
        self._link = link
        self._listening = listening
        self._begin = begin
        self._raises = raises
        self._resuming: Resuming | None = None
        self._updates: AsyncGenerator[Update, None] | None = None
        self._failed: Composition | None = None

    @property
    def name(self) -> str:
        """The composition's name; empty until its first event."""
        return self._resuming.name if self._resuming else ""

    @property
    def cursor(self) -> str:
        """The place after the last event that was given out; keep it to go on in another process."""
        return self._resuming.cursor if self._resuming else ""

    @property
    def num_resumed(self) -> int:
        """How often the connection broke."""
        return self._resuming.num_resumed if self._resuming else 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        if self._failed is not None:
            raise from_status(self._failed.error)
        if self._updates is None:
            self._resuming = self._begin(self._listening)
            self._updates = self._resuming.updates()
        update = await anext(self._updates)
        if isinstance(update, Finished) and self._raises and _has_failed(update.result):
            # The event itself is given out first; the error follows it.
            self._failed = update.result
        return update

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop listening. The composition goes on, unless it was asked to be cancelled with its listener."""
        if self._updates is not None:
            await self._updates.aclose()

    async def result(self) -> Composition:
        """Wait for the end; raises the composition's own error if it failed."""
        self._listening.audio = stream_pb2.AUDIO_SELECTION_NONE
        return await self._to_the_end()

    async def save(self, path: str | Path, *, replace: bool = False) -> Composition:
        """Wait for the end and write the finished music: whole, with the right digest, or not at all.

        The format is the ending's: .flac, .wav, .opus, .ogg or .mp3.
        """
        target = Path(path)
        file_format, media_type = _format_of(target)
        refuse_existing(target, replace=replace)
        spec = self._listening.spec
        wanted = [export.file_format or audio_pb2.FILE_FORMAT_FLAC for export in spec.exports] if spec else []
        if spec is not None and file_format not in wanted:
            spec.exports.add(file_format=file_format)
        composition = await self.result()
        try:
            await transfers.download(self._link, _master_of(composition, media_type), target, replace=replace)
        except DamagedAudio:
            # What the last event said of the file may be what was damaged: ask once more.
            request = composition_pb2.GetCompositionRequest(name=composition.name)
            composition = (await self._link.call(lambda stub: stub.GetComposition, request)).composition
            await transfers.download(self._link, _master_of(composition, media_type), target, replace=replace)
        return composition

    async def save_live(
        self,
        path: str | Path,
        *,
        stage: audio_pb2.Stage.ValueType = audio_pb2.STAGE_DRAFT,
        replace: bool = False,
    ) -> Composition:
        """Write the sound to a WAV file while it is made; it is called PATH.part until it is whole."""
        target = Path(path)
        if target.suffix.lower() != ".wav":
            raise ValueError(
                f"{target}: sound that is still being made goes into a .wav file; `save` writes the others"
            )
        self._listening.audio = SELECTIONS[stage]
        wav = GrowingWav(target, replace=replace)
        try:
            async for update in self:
                if isinstance(update, Audio) and update.stage == stage:
                    wav.append(update.body)
                elif isinstance(update, Rewound) and update.body.stage == stage:
                    wav.rewind(update.body.first_frame)
                elif isinstance(update, Finished):
                    _raise_if_failed(update.result)
                    wav.keep()
                    return update.result
            raise RuntimeError("the stream was used before")
        finally:
            wav.close()
            await self.aclose()

    async def chunks(self, stage: audio_pb2.Stage.ValueType = audio_pb2.STAGE_DRAFT) -> AsyncIterator[Chunk]:
        """Yield the sound as numpy arrays while it is made; raises the composition's own error if it failed."""
        self._listening.audio = SELECTIONS[stage]
        async with contextlib.aclosing(self):
            async for update in self:
                if isinstance(update, Audio) and update.stage == stage:
                    yield Chunk(update.first_frame, update.body.format.sample_rate, update.samples)
                elif isinstance(update, Finished):
                    _raise_if_failed(update.result)

    async def _to_the_end(self) -> Composition:
        async with contextlib.aclosing(self):
            async for update in self:
                if isinstance(update, Finished):
                    _raise_if_failed(update.result)
                    return update.result
        raise RuntimeError("the stream was used before")


def _has_failed(composition: Composition) -> bool:
    return composition.state in {composition_pb2.STATE_FAILED, composition_pb2.STATE_CANCELLED}


def _raise_if_failed(composition: Composition) -> None:
    if _has_failed(composition):
        raise from_status(composition.error)


def _format_of(target: Path) -> tuple[audio_pb2.FileFormat.ValueType, str]:
    found = FORMATS.get(target.suffix.lower())
    if found is None:
        raise ValueError(f"{target}: which format is that? Use one of {' '.join(FORMATS)}")
    return found


def _master_of(composition: Composition, media_type: str) -> Output:
    for output in composition.outputs:
        if output.kind == composition_pb2.OUTPUT_KIND_MASTER and output.media_type == media_type:
            return output
    there = ", ".join(output.media_type for output in composition.outputs) or "none"
    raise FileNotFoundError(f"{composition.name} has no {media_type} of its master; it has: {there}")
